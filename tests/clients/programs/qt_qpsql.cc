// Qt's QPSQL plugin: two named connections, one failure, and one left by _exit.
#include <cstdio>
#include <unistd.h>

#include <QCoreApplication>
#include <QSqlDatabase>
#include <QSqlQuery>
#include <QString>
#include <QVariant>

static bool open_named(const char *name, const QString &database) {
	QSqlDatabase db = QSqlDatabase::addDatabase("QPSQL", name);
	db.setDatabaseName(database);
	if (!db.open())
		return false;
	QSqlQuery query(db);
	query.exec("select 17");
	query.next();
	std::printf("%s %d\n", name, query.value(0).toInt());
	return true;
}

static void forget(const char *name) {
	QSqlDatabase::database(name, false).close();
	QSqlDatabase::removeDatabase(name);
}

int main(int argc, char **argv) {
	QCoreApplication application(argc, argv);
	const QString database = qEnvironmentVariable("PGDATABASE");
	open_named("first", database);
	open_named("second", database);
	std::puts(open_named("third", "no_such_database_here") ? "connected" : "no such database");
	forget("first");
	forget("second");
	forget("third");
	open_named("left", database);
	std::fflush(stdout);
	_exit(3);
}
