package workload

import (
	"runtime"
	"syscall"
	"time"
)

// meter is what the process had used when it was read. CPU time is read
// nearest to the timed section, on either side.
type meter struct {
	cpu time.Duration
	gc  GC
}

func readMeter() meter {
	gc := collected()
	return meter{cpu: cpuTime(), gc: gc}
}

// since returns what was used since the meter was read.
func (m meter) since() (time.Duration, GC) {
	cpu := cpuTime()
	gc := collected()
	return cpu - m.cpu, GC{Cycles: gc.Cycles - m.gc.Cycles, Pause: gc.Pause - m.gc.Pause}
}

// cpuTime is user and system time of all threads of the process.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic("workload: getrusage: " + err.Error()) // cannot fail for RUSAGE_SELF
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func collected() GC {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return GC{Cycles: m.NumGC, Pause: time.Duration(m.PauseTotalNs)}
}
