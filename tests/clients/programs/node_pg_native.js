// node `pg-native`: three clients side by side.
const Client = require("pg-native");

let open = 3;
for (let number = 0; number < 3; number++) {
	const client = new Client();
	client.connect((error) => {
		if (error) throw error;
		client.query("select 17 as n", (failure, rows) => {
			if (failure) throw failure;
			client.end(() => --open || console.log(rows[0].n));
		});
	});
}
