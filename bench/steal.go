package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// stealLimit is the share of CPU time that a hypervisor may give to others
// during a round before the round is void.
const stealLimit = 0.02

// jiffies is CPU time of the whole machine since it started, in clock ticks.
type jiffies struct{ steal, total uint64 }

// readJiffies reads the first line of /proc/stat (proc_stat(5)): user, nice,
// system, idle, iowait, irq, softirq, steal; guest time is within user's.
func readJiffies() (jiffies, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return jiffies{}, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return parseJiffies(line)
}

func parseJiffies(line string) (j jiffies, err error) {
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return j, fmt.Errorf("/proc/stat: no steal time in %q", line)
	}
	for i, f := range fields[1:9] {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return j, fmt.Errorf("/proc/stat: %q: %w", line, err)
		}
		j.total += n
		if i == 7 {
			j.steal = n
		}
	}
	return j, nil
}

// since returns what passed since o.
func (j jiffies) since(o jiffies) jiffies { return jiffies{j.steal - o.steal, j.total - o.total} }

// share returns stolen time over all time, and false where no tick passed.
func (j jiffies) share() (float64, bool) {
	return float64(j.steal) / float64(max(j.total, 1)), j.total > 0
}
