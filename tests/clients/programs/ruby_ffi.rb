# ruby-ffi: libpq by dlsym, no driver.
require "ffi"

module Pq
  extend FFI::Library
  ffi_lib "libpq.so.5"
  attach_function :PQconnectdb, [:string], :pointer
  attach_function :PQstatus, [:pointer], :int
  attach_function :PQreset, [:pointer], :void
  attach_function :PQping, [:string], :int
  attach_function :PQfinish, [:pointer], :void
end

conns = Array.new(3) { Pq.PQconnectdb("") }
puts conns.map { |conn| Pq.PQstatus(conn) }.inspect
Pq.PQreset(conns[0])
puts Pq.PQping("")
conns[0, 2].each { |conn| Pq.PQfinish(conn) }
