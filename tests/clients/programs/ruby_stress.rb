# Threads that connect while every allocation collects, and one that compacts. SECONDS
require "pg"

def order(n) = n > 0 ? [1].map { order(n - 1) }.first : PG.connect

stop = Process.clock_gettime(Process::CLOCK_MONOTONIC) + ARGV[0].to_f
is_over = -> { Process.clock_gettime(Process::CLOCK_MONOTONIC) > stop }
threads = 3.times.map do |i|
  Thread.new do
    until is_over.call
      connection = order(i)
      i.even? ? connection.finish : connection = nil
      Fiber.new { order(1).close }.resume
      eval("order(0).finish", binding, "made-up-#{rand(5)}.rb", 1)
    end
  end
end
until is_over.call
  GC.stress = true
  3.times { "x" * 100 }
  GC.stress = false
  GC.compact
  sleep 0.002
end
threads.map(&:join)
