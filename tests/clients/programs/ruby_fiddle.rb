# Fiddle: libpq by dlsym, from Ruby's own library.
require "fiddle"

libpq = Fiddle.dlopen("libpq.so.5")
connectdb = Fiddle::Function.new(libpq["PQconnectdb"], [Fiddle::TYPE_VOIDP], Fiddle::TYPE_VOIDP)
status = Fiddle::Function.new(libpq["PQstatus"], [Fiddle::TYPE_VOIDP], Fiddle::TYPE_INT)
finish = Fiddle::Function.new(libpq["PQfinish"], [Fiddle::TYPE_VOIDP], Fiddle::TYPE_VOID)
conns = Array.new(3) { connectdb.call("") }
puts conns.map { |conn| status.call(conn) }.inspect
conns[0, 2].each { |conn| finish.call(conn) }
