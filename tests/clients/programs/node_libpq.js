// node `libpq`: connected in a worker thread, finished in the main one; sync as well; one left by process.exit.
const Libpq = require("libpq");

const sync = new Libpq();
sync.connectSync("");
sync.exec("select 17");
console.log(sync.getvalue(0, 0));
sync.finish();

const conn = new Libpq();
conn.connect("", (error) => {
	if (error) throw error;
	conn.exec("select 18");
	console.log(conn.getvalue(0, 0));
	conn.finish();
	const left = new Libpq();
	left.connectSync("");
	const none = new Libpq();
	none.connect("dbname=no_such_database_here", (failure) => {
		console.log(failure ? "no such database" : "connected");
		none.finish();
		process.exit(3);
	});
});
