"""What a pooler does to process ids: a proxy in front of the server that tells each client a number of its own.

A DelayProxy without delay that changes BackendKeyData, the message in which the server says its process id.
"""

import struct

from delay_proxy import DelayProxy

KEY_DATA = b"K" + struct.pack("!i", 12)


class PoolerProxy(DelayProxy):
    def __init__(self, cluster):
        super().__init__(cluster, 0)
        self.next_number = 1371779905

    def forward(self, client, server):
        """Up to the key data the server's bytes are changed; it comes within its first answer."""
        text = b""
        while KEY_DATA not in text or len(text) < text.index(KEY_DATA) + 13:
            more = server.recv(65536)
            if not more:
                return
            text += more
        at = text.index(KEY_DATA) + len(KEY_DATA)
        self.next_number += 7
        client.sendall(text[:at] + struct.pack("!i", self.next_number) + text[at + 4:])
        super().forward(client, server)
