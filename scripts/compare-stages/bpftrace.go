package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// script is what bpftrace 0.17 runs: tracepoints alone, since a kernel may
// have no kprobes. The times are sorted into steps of 250 ns.
const script = `
tracepoint:block:block_rq_issue /args->dev == %[1]d && (%[2]s)/ { @start[args->sector] = nsecs; }
tracepoint:block:block_rq_complete /args->dev == %[1]d && @start[args->sector]/ {
	$ns = nsecs - @start[args->sector];
	@steps = lhist($ns, 0, %[3]d, 250);
	@whole = stats($ns);
	delete(@start[args->sector]);
}
interval:ms:100 { printf("up\n"); }
END { clear(@start); }
`

const mostNS = 250_000 // bpftrace allows 1000 steps

// mounted runs bpftrace where tracefs and debugfs are mounted, by it or, as on
// most machines, before; its own mounts go with it.
const mounted = `for fs in tracefs:tracing debugfs:debug; do
	mountpoint -q /sys/kernel/${fs#*:} || mount -t ${fs%:*} none /sys/kernel/${fs#*:} || exit
done
exec bpftrace -f json "$1"`

// startBpftrace watches the requests on dev for which filter holds, and
// returns when it does so.
func startBpftrace(ctx context.Context, dir, dev, filter string) (*watcher, error) {
	if _, err := exec.LookPath("bpftrace"); err != nil {
		return nil, errors.New("bpftrace is missing: apt-get install bpftrace (scripts/setup.sh does)")
	}
	var st syscall.Stat_t
	if err := syscall.Stat(dev, &st); err != nil {
		return nil, err
	}
	major, minor := st.Rdev>>8&0xfff, st.Rdev&0xff|st.Rdev>>12&^0xff // glibc's dev_t
	path := filepath.Join(dir, "stages.bt")
	if err := os.WriteFile(path, fmt.Appendf(nil, script, major<<20|minor, filter, mostNS), 0o600); err != nil {
		return nil, err
	}
	return start(ctx, "up", "unshare", "--mount", "sh", "-c", mounted, "sh", path)
}

// device returns what bpftrace printed of the device at its end.
func (w *watcher) device() (seen, error) { return parseBpftrace(w.out) }

func parseBpftrace(lines []string) (seen, error) {
	var s seen
	var steps []step
	for _, line := range lines {
		var m struct {
			Data json.RawMessage `json:"data"`
			Type string          `json:"type"`
		}
		if json.Unmarshal([]byte(line), &m) != nil {
			continue // blank, or a note
		}
		var err error
		switch m.Type {
		case "stats":
			var d map[string]struct{ Count, Average float64 }
			err = json.Unmarshal(m.Data, &d)
			s.count, s.mean = int64(d["@whole"].Count), d["@whole"].Average/1e3
		case "hist":
			var d map[string][]step
			err = json.Unmarshal(m.Data, &d)
			steps = d["@steps"]
		}
		if err != nil {
			return s, fmt.Errorf("bpftrace's answer %q: %w", line, err)
		}
	}
	if s.count == 0 {
		return s, errors.New("bpftrace saw no I/O")
	}
	var err error
	s.p50, err = p50(steps, s.count)
	return s, err
}

// step is a bucket of bpftrace's lhist; nanoseconds. The last has no Max.
type step struct {
	Min, Max, Count int64
}

func p50(steps []step, n int64) (float64, error) {
	for _, s := range steps {
		if n -= 2 * s.Count; n <= 0 {
			if s.Max == 0 {
				break
			}
			return float64(s.Min+s.Max) / 2e3, nil
		}
	}
	return 0, fmt.Errorf("bpftrace: the median is beyond %d us", mostNS/1000)
}
