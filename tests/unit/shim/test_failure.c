/* From messages as libpq 12 and 15 write them (measured) to reasons. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "shim/failure.h"

#define PREFIX_15 "connection to server at \"127.0.0.1\", port 6543 failed: "

/* Messages of the server: alone with libpq 12, behind a prefix from 14 on. */
static const struct {
	const char *message;
	enum failure_reason reason;
} of_server[] = {
	{"FATAL:  sorry, too many clients already\n", FAILURE_TOO_MANY_CLIENTS},
	{"FATAL:  remaining connection slots are reserved for non-replication superuser connections\n",
	 FAILURE_RESERVED_SLOTS},
	{"FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute\n",
	 FAILURE_RESERVED_SLOTS},
	{"FATAL:  too many connections for role \"lim\"\n", FAILURE_ROLE_LIMIT},
	{"FATAL:  too many connections for database \"limdb\"\n", FAILURE_DATABASE_LIMIT},
	{"FATAL:  password authentication failed for user \"pw\"\n", FAILURE_PASSWORD},
	{"fe_sendauth: no password supplied\n", FAILURE_NO_PASSWORD},
	{"FATAL:  role \"x\" does not exist\n", FAILURE_UNKNOWN_ROLE},
	{"FATAL:  role \"x\" is not permitted to log in\n", FAILURE_NO_ROLE},
	{"FATAL:  pg_hba.conf rejects connection for host \"127.0.0.1\", user \"x\"\n", FAILURE_HBA},
	{"FATAL:  no pg_hba.conf entry for host \"127.0.0.1\", user \"x\"\n", FAILURE_HBA},
	{"FATAL:  database \"nosuchdb\" does not exist\n", FAILURE_NO_DATABASE},
	{"timeout expired\n", FAILURE_TIMEOUT},
	{"FATAL:  no more connections allowed (max_client_conn)\n", FAILURE_POOLER_MAX_CLIENTS},
	{"FATAL:  bouncer config error\n", FAILURE_POOLER_CONFIG},
	{"FATAL:  query_wait_timeout\n", FAILURE_POOLER_WAIT_TIMEOUT},
	{"FATAL:  the database system is starting up\n", FAILURE_STARTING_UP},
	{"server closed the connection unexpectedly\n\tThis probably means\n", FAILURE_SERVER_CLOSED},
	{"server does not support SSL, but SSL was required\n", FAILURE_TLS_UNSUPPORTED},
	{"SSL error: certificate verify failed\n", FAILURE_TLS_ERROR},
};

static void test_messages_of_the_server(void **state) {
	(void)state;
	for (size_t i = 0; i < sizeof of_server / sizeof *of_server; i++) {
		char prefixed[512];
		snprintf(prefixed, sizeof prefixed, PREFIX_15 "%s", of_server[i].message);
		assert_int_equal(of_server[i].reason, failure_classify(of_server[i].message, NULL, 0));
		assert_int_equal(of_server[i].reason, failure_classify(prefixed, NULL, 0));
		assert_true(failure_was_contacted(of_server[i].reason));
	}
}

/* Messages of libpq itself: worded differently by 12 and by 14 and later. */
static void test_messages_of_the_library(void **state) {
	static const struct {
		const char *message;
		enum failure_reason reason;
	} messages[] = {
		{"could not connect to server: Connection refused\n\tIs the server running on host "
		 "\"127.0.0.1\" and "
		 "accepting\n\tTCP/IP connections on port 5432?\n",
		 FAILURE_REFUSED},
		{PREFIX_15 "Connection refused\n\tIs the server running on that host?\n", FAILURE_REFUSED},
		{"could not connect to server: No such file or directory\n", FAILURE_NO_SOCKET},
		{"connection to server on socket \"/tmp/.s.PGSQL.1\" failed: No such file or directory\n",
		 FAILURE_NO_SOCKET},
		{"could not translate host name \"nosuch.invalid\" to address: Name or service not known\n",
		 FAILURE_DNS},
		{"could not translate host name \"certificate.example\" to address: Try again\n",
		 FAILURE_DNS},
		{PREFIX_15 "Connection timed out\n", FAILURE_TIMED_OUT},
		{PREFIX_15 "Network is unreachable\n", FAILURE_UNREACHABLE},
		{"could not connect to server: No route to host\n", FAILURE_NO_ROUTE},
		{"could not connect to server: Permission denied\n", FAILURE_PERMISSION},
		{"could not receive data from server: Connection reset by peer\n", FAILURE_RESET},
		{PREFIX_15 "could not receive data from server: Connection reset by peer\n", FAILURE_RESET},
		{"server certificate for \"x\" does not match host name \"y\"\n", FAILURE_TLS_CERTIFICATE},
		{"ERROR:  no such database: orders\n", FAILURE_POOLER_NO_DATABASE},
		{"out of memory\n", FAILURE_OUT_OF_MEMORY},
	};
	(void)state;
	for (size_t i = 0; i < sizeof messages / sizeof *messages; i++)
		if (failure_classify(messages[i].message, NULL, 0) != messages[i].reason)
			fail_msg("%s", messages[i].message);
}

/* They quote the conninfo, and a quoted piece must be taken neither for a reason nor for a contact. */
static void test_malformed_conninfo_is_never_contacted(void **state) {
	static const char *const messages[] = {
		"missing \"=\" after \"Connection refused\" in connection info string\n",
		"invalid connection option \"FATAL:  role \"\n",
		"unterminated quoted string in connection info string\n",
		"invalid port number: \"timeout expired\"\n",
		"invalid sslmode value: \"certificate\"\n",
		"invalid integer value \"pg_hba.conf\" for connection option \"port\"\n",
		"invalid URI query parameter: \"sorry, too many clients already\"\n",
		"could not match 2 port numbers to 1 hosts\n",
		"definition of service \"no password supplied\" not found\n",
		"end of string reached when looking for matching \"]\" in IPv6 host address in URI: \"SSL "
		"error\"\n",
		"unexpected character \"x\" in position 9 in URI (expected \":\" or \"/\"): \"no such "
		"database\"\n",
		"extra key/value separator \"=\" in URI query parameter: \"Permission denied\"\n",
		"",
	};
	(void)state;
	for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
		assert_int_equal(FAILURE_OTHER, failure_classify(messages[i], NULL, 0));
		assert_false(failure_was_contacted(failure_classify(messages[i], NULL, 0)));
	}
	assert_int_equal(FAILURE_OTHER, failure_classify(NULL, NULL, 0));
}

/* Translated messages tell nothing; the state in the PGconn does. */
static void test_the_state_helps_where_the_text_does_not(void **state) {
	static const struct {
		const char *sqlstate;
		enum failure_reason reason;
	} states[] = {{"53300", FAILURE_STATE_53300}, {"28P01", FAILURE_STATE_28P01},
		      {"28000", FAILURE_STATE_28000}, {"3D000", FAILURE_STATE_3D000},
		      {"08P01", FAILURE_STATE_08P01}, {"57P03", FAILURE_STATE_57P03},
		      {"99999", FAILURE_OTHER}};
	(void)state;
	for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
		for (size_t at = 0; at + 6 <= 64; at += 29) {
			char conn[64] = {0};
			memcpy(conn + at, states[i].sqlstate, 6);
			assert_int_equal(states[i].reason,
					 failure_classify("FATAL:  zu viele\n", conn, sizeof conn));
		}
	}
	char cut[5] = {'5', '3', '3', '0', '0'};
	assert_int_equal(FAILURE_OTHER, failure_classify(NULL, cut, sizeof cut));
	assert_int_equal(FAILURE_OTHER, failure_classify(NULL, cut, 0));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages_of_the_server),
		cmocka_unit_test(test_messages_of_the_library),
		cmocka_unit_test(test_malformed_conninfo_is_never_contacted),
		cmocka_unit_test(test_the_state_helps_where_the_text_does_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
