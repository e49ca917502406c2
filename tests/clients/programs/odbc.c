/* psqlodbc through unixODBC's driver manager: two connections, one failure, everything given back. */
#include <sql.h>
#include <sqlext.h>
#include <stdio.h>
#include <stdlib.h>

static SQLHDBC connect_to(SQLHENV environment, const char *database) {
	char text[512];
	SQLHDBC conn;
	snprintf(text, sizeof text, "Driver=%s;Servername=%s;Port=%s;Database=%s;Username=%s;",
		 getenv("ODBC_DRIVER"), getenv("PGHOST"), getenv("PGPORT"), database, getenv("PGUSER"));
	SQLAllocHandle(SQL_HANDLE_DBC, environment, &conn);
	if (SQL_SUCCEEDED(SQLDriverConnect(conn, NULL, (SQLCHAR *)text, SQL_NTS, NULL, 0, NULL,
					   SQL_DRIVER_NOPROMPT)))
		return conn;
	SQLFreeHandle(SQL_HANDLE_DBC, conn);
	return NULL;
}

static void ask(SQLHDBC conn, const char *query) {
	SQLHSTMT statement;
	SQLINTEGER answer = -1;
	SQLAllocHandle(SQL_HANDLE_STMT, conn, &statement);
	if (SQL_SUCCEEDED(SQLExecDirect(statement, (SQLCHAR *)query, SQL_NTS)) &&
	    SQL_SUCCEEDED(SQLFetch(statement)))
		SQLGetData(statement, 1, SQL_C_SLONG, &answer, 0, NULL);
	printf("%d\n", (int)answer);
	SQLFreeHandle(SQL_HANDLE_STMT, statement);
}

int main(void) {
	SQLHENV environment;
	SQLAllocHandle(SQL_HANDLE_ENV, SQL_NULL_HANDLE, &environment);
	SQLSetEnvAttr(environment, SQL_ATTR_ODBC_VERSION, (SQLPOINTER)SQL_OV_ODBC3, 0);
	SQLHDBC first = connect_to(environment, getenv("PGDATABASE"));
	SQLHDBC second = connect_to(environment, getenv("PGDATABASE"));
	if (!first || !second)
		return 1;
	ask(first, "select 17");
	ask(second, "select 18");
	puts(connect_to(environment, "no_such_database_here") ? "connected" : "no such database");
	SQLDisconnect(first);
	SQLFreeHandle(SQL_HANDLE_DBC, first);
	SQLDisconnect(second);
	SQLFreeHandle(SQL_HANDLE_DBC, second);
	SQLFreeHandle(SQL_HANDLE_ENV, environment);
	return 0;
}
