package appliance

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"sealbay/appliance/rest"
)

// TestIdle holds the daemon with 24 open drives to 40 MiB of memory and 0.5 %
// of a core when nobody asks anything of it.
func TestIdle(t *testing.T) {
	t.Parallel()
	r := newRig(t, 24, 20)
	if err := r.node(t, true).Close(); err != nil {
		t.Fatal(err)
	}
	r.acked = noHammer
	c := r.child(t)
	defer func() {
		if err := c.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}()
	r.await(t, "rehearsed", func(s rest.NodeState) bool { return s.Rehearsal != nil })
	time.Sleep(2 * time.Second) // let the memory of the start go back
	const span = 10 * time.Second
	before := cpuTime(t, c.Process.Pid)
	time.Sleep(span)
	share := float64(cpuTime(t, c.Process.Pid)-before) / float64(span)
	rss := residentKiB(t, c.Process.Pid)
	t.Logf("idle with 24 drives: %d KiB resident, %.2f %% of a core", rss, 100*share)
	if rss > 40<<10 {
		t.Errorf("%d KiB resident, want at most 40 MiB", rss)
	}
	if share > 0.005 {
		t.Errorf("%.2f %% of a core, want at most 0.5 %%", 100*share)
	}
}

// cpuTime returns user and system time of a process (proc_pid_stat(5), fields
// 14 and 15, in ticks of 10 ms).
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	var user, system int64
	f := strings.Fields(rest)
	if _, err := fmt.Sscan(f[11]+" "+f[12], &user, &system); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

func residentKiB(t *testing.T, pid int) (kib int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "VmRSS:") {
			if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err != nil {
				t.Fatal(err)
			}
		}
	}
	return kib
}
