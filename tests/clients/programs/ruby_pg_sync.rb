# ruby-pg with its blocking api: reset included; a notice processor that raises out of libpq.
require "pg"

PG::Connection.async_api = false
conn = PG.connect
conn.set_notice_processor { |_text| raise "raised" }
begin
  conn.exec("do $$ begin raise warning 'out'; end $$")
rescue RuntimeError => error
  puts error.message
end
conn.set_notice_processor
conn.discard_results # else the server may still be sending when it is left
conn.reset
puts conn.exec("select 17").getvalue(0, 0)
conn.finish
PG.connect { |scoped| puts scoped.exec("select 18").getvalue(0, 0) }
PG.connect # closed by the interpreter's end
