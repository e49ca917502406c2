-- LuaSQL: closed, failed, and one left by os.exit, which closes nothing.
local environment = require("luasql.postgres").postgres()
local conns = {}
for number = 1, 3 do
	conns[number] = assert(environment:connect(os.getenv("PGDATABASE")))
	print(conns[number]:execute("select " .. number):fetch())
end
print(environment:connect("no_such_database_here") == nil)
conns[1]:close()
conns[2]:close()
io.stdout:flush()
os.exit(3, false)
