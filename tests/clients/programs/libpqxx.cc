// libpqxx: a connection, an asynchronous one, an exception out of a transaction, and one left by _exit.
#include <iostream>
#include <memory>
#include <unistd.h>

#include <pqxx/pqxx>

int main() {
	{
		pqxx::connection conn("");
		pqxx::work work(conn);
		std::cout << work.exec1("select 17")[0].as<int>() << std::endl;
		try {
			work.exec("select 1 / 0");
		} catch (const pqxx::sql_error &error) {
			std::cout << "caught" << std::endl;
		}
	}
	{
		pqxx::asyncconnection conn("");
		pqxx::nontransaction work(conn);
		std::cout << work.exec1("select 18")[0].as<int>() << std::endl;
	}
	try {
		pqxx::connection conn("dbname=no_such_database_here");
	} catch (const pqxx::broken_connection &) {
		std::cout << "no such database" << std::endl;
	}
	auto left = std::make_unique<pqxx::connection>("");
	_exit(3);
}
