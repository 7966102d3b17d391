package blockdev

import (
	"time"

	"golang.org/x/sys/unix"
)

// The Go runtime reads CLOCK_MONOTONIC through the vDSO but counts from its
// own start; epoch is what to add. unix.ClockGettime would be a full system
// call for every stamp.
var (
	start = time.Now()
	epoch = monotonic() - int64(time.Since(start))
)

func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("blockdev: no monotonic clock: " + err.Error()) // POSIX guarantees it
	}
	return ts.Nano()
}

// Now returns CLOCK_MONOTONIC in nanoseconds, the clock of Stamps and of
// bpf_ktime_get_ns. It differs from clock_gettime(2) by less than the time
// that one system call takes.
func Now() int64 { return epoch + int64(time.Since(start)) }
