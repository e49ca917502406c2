// node `koffi`: libpq by dlsym, called in the main thread and in a worker thread.
const koffi = require("koffi");

const libpq = koffi.load("libpq.so.5");
const connectdb = libpq.func("void *PQconnectdb(const char *)");
const status = libpq.func("int PQstatus(void *)");
const finish = libpq.func("void PQfinish(void *)");

const conn = connectdb("");
const left = connectdb("");
console.log(status(conn), status(left));
finish(conn);
connectdb.async("", (error, other) => {
	if (error) throw error;
	console.log(status(other));
	finish(other);
});
