package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// stealLimit is the share of CPU time that a hypervisor may give to others
// during a round before the round is void.
const stealLimit = 0.02

// meter is what the machine suffered: since it started, or between two
// readings.
type meter struct {
	steal, total uint64 // CPU time of the whole machine, in clock ticks
	throttled    uint64 // times that a core or package was slowed for heat
}

// readMeter reads /proc/stat and sysfs.
func readMeter() (meter, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return meter{}, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	m, err := parseStat(line)
	if err != nil {
		return meter{}, err
	}
	m.throttled, _, err = throttled("/sys")
	return m, err
}

// parseStat reads the first line of /proc/stat (proc_stat(5)): user, nice,
// system, idle, iowait, irq, softirq, steal; guest time is within user's.
func parseStat(line string) (m meter, err error) {
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return m, fmt.Errorf("/proc/stat: no steal time in %q", line)
	}
	for i, f := range fields[1:9] {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return m, fmt.Errorf("/proc/stat: %q: %w", line, err)
		}
		m.total += n
		if i == 7 {
			m.steal = n
		}
	}
	return m, nil
}

// throttled adds up the processors' counters of thermal throttling (the
// kernel's Documentation/ABI, /sys/devices/system/cpu). Virtual machines and
// many processors have none: false.
func throttled(sys string) (sum uint64, ok bool, err error) {
	files, _ := filepath.Glob(sys + "/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count") // fails only on a bad pattern
	for _, name := range files {
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // the processor went offline
		}
		if err != nil {
			return 0, false, err
		}
		n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
		if err != nil {
			return 0, false, fmt.Errorf("%s: %w", name, err)
		}
		sum += n
	}
	return sum, len(files) > 0, nil
}

// since returns what passed since o.
func (m meter) since(o meter) meter {
	return meter{m.steal - o.steal, m.total - o.total, m.throttled - o.throttled}
}

// plus adds what passed in two stretches.
func (m meter) plus(o meter) meter {
	return meter{m.steal + o.steal, m.total + o.total, m.throttled + o.throttled}
}

// stolen returns stolen time over all time, and false where no tick passed.
func (m meter) stolen() (float64, bool) {
	return float64(m.steal) / float64(max(m.total, 1)), m.total > 0
}
