# libpgtcl: blocking connections, one failure, one closed by the end of the interpreter.
package require Pgtcl
set first [pg_connect -conninfo ""]
set second [pg_connect -conninfo ""]
foreach {conn number} [list $first 17 $second 18] {
	set result [pg_exec $conn "select $number"]
	puts [pg_result $result -getTuple 0]
	pg_result $result -clear
}
puts [catch {pg_connect -conninfo "dbname=no_such_database_here"}]
pg_disconnect $first
