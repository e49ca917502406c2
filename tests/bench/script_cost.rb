# script_cost.rb DEPTH CALLS WHAT: processor time of one call at the bottom of DEPTH methods, in nanoseconds. WHAT is
# `connect` (to a server that cannot be named, so that nothing is waited for) or `by_hand` (a stack written down).
require "fiddle"

LIBPQ = Fiddle.dlopen("libpq.so.5")
CONNECT = Fiddle::Function.new(LIBPQ["PQconnectdb"], [Fiddle::TYPE_VOIDP], Fiddle::TYPE_VOIDP)
FINISH = Fiddle::Function.new(LIBPQ["PQfinish"], [Fiddle::TYPE_VOIDP], Fiddle::TYPE_VOID)

def connects(calls)
  calls.times { FINISH.call(CONNECT.call("=")) }
end

def writes(calls)
  calls.times { caller_locations(0).map { |frame| [frame.path, frame.lineno, frame.label] } }
end

def now = Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID, :nanosecond)

def level(depth, calls, what)
  return level(depth - 1, calls, what) if depth > 0
  begun = now
  what == "connect" ? connects(calls) : writes(calls)
  (now - begun).to_f / calls
end

puts level(ARGV[0].to_i - 4, ARGV[1].to_i, ARGV[2])
