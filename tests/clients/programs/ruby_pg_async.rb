# ruby-pg, its default api: start and poll; reset; ping; one connection left by exit!.
require "pg"

conns = Array.new(3) { PG.connect }
conns.each_with_index { |conn, number| puts conn.exec_params("select $1::int", [number]).getvalue(0, 0) }
conns[0].reset
puts conns[0].exec("select 'reset'").getvalue(0, 0)
conns.each(&:finish)
puts PG::Connection.ping == PG::PQPING_OK
begin
  PG.connect("dbname=no_such_database_here")
rescue PG::Error
  puts "no such database"
end
left = PG.connect
$stdout.flush
exit!(3)
