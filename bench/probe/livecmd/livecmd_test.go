package livecmd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealbay/bench/probe"
	"sealbay/blockcrypt/blocktest"
)

func TestBadOptions(t *testing.T) {
	const ok = time.Second
	for _, c := range []struct {
		o    Options
		says string
	}{
		{Options{Interval: ok}, "no device: name one with --device"},
		{Options{Device: "x", Interval: time.Millisecond}, "--interval 1ms: must be at least 100ms"},
		{Options{Device: "x", Interval: ok, Duration: -1}, "--duration -1ns: must not be negative"},
		{Options{Device: "/nonexistent", Interval: ok}, "/nonexistent: no such file or directory"},
		{Options{Device: "/proc/version", Interval: ok}, "/proc/version: no block device beneath it"},
	} {
		var out bytes.Buffer
		err := Watch(context.Background(), c.o, &out)
		if err == nil || !strings.Contains(err.Error(), c.says) || out.Len() > 0 {
			t.Errorf("%+v: said %v and printed %q; want %q", c.o, err, out.String(), c.says)
		}
	}
}

// TestRealDevice watches fio's reads on a loop device.
func TestRealDevice(t *testing.T) {
	path := blocktest.Loop(t, blocktest.File(t, blocktest.Tmpfs(t), 16<<20), 4096)
	file := filepath.Join(t.TempDir(), "out.json")
	ctx, cancel := context.WithCancel(context.Background())
	var out bytes.Buffer
	ended := make(chan error)
	go func() {
		ended <- Watch(ctx, Options{Device: path, Interval: 200 * time.Millisecond, JSON: file}, &out)
	}()
	for range 3 {
		blocktest.Command(t, "fio", "fio", "--name=x", "--filename="+path, "--direct=1", "--rw=randread", "--bs=4k", "--number_ios=2000", "--thread")
	}
	time.Sleep(250 * time.Millisecond) // one more display
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"read    queue ", "read    device ", "read, device\n", "p50"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("display lacks %q:\n%s", want, out.String())
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	// The first requests may come before the programs are attached.
	for _, r := range d.Rows {
		if r.Op == "read" && (r.Count < 2000 || r.Count > 6200 || r.P50US == nil) {
			t.Errorf("%s: %d reads, p50 %v", r.Stage, r.Count, r.P50US)
		}
	}
	if len(d.Rows) < 2 || d.Device != filepath.Base(path) || d.Version != 1 {
		t.Errorf("document %+v", d)
	}
}

// TestStream reads the lines of JSON: one at once, then one per interval, and
// one at the end.
func TestStream(t *testing.T) {
	path := blocktest.Loop(t, blocktest.File(t, blocktest.Tmpfs(t), 1<<20), 4096)
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := Watch(ctx, Options{Device: path, Interval: 100 * time.Millisecond, JSON: "-"}, w)
		ended <- errors.Join(err, w.Close())
	}()
	lines := bufio.NewScanner(r)
	next := func() (d document) {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("no line: %v", <-ended)
		}
		if err := json.Unmarshal(lines.Bytes(), &d); err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := next(); d.Version != 1 || d.Device != filepath.Base(path) || d.Seconds != 0 || len(d.Rows) != 0 {
		t.Errorf("the first line is %+v", d)
	}
	blocktest.Command(t, "coreutils", "dd", "if="+path, "of=/dev/null", "bs=4k", "count=10", "iflag=direct")
	last := document{}
	for len(last.Rows) < 2 {
		last = next()
	}
	cancel()
	for lines.Scan() {
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, row := range last.Rows {
		if row.Op == "read" && row.Count != 10 {
			t.Errorf("%s: %d reads, 10 were made", row.Stage, row.Count)
		}
	}
}

func sample() probe.Snapshot {
	var s probe.Snapshot
	fill := func(h *probe.Histogram, bucket int, n uint64) {
		low, _ := probe.Bounds(bucket)
		h.Counts[bucket] += n
		h.Count += n
		h.Sum += n * low
		h.Max = max(h.Max, low)
	}
	fill(&s.Histograms[probe.LiveQueue][probe.LiveRead], 72, 100)  // 2.048 us
	fill(&s.Histograms[probe.LiveDevice][probe.LiveRead], 88, 75)  // 8.192 us
	fill(&s.Histograms[probe.LiveDevice][probe.LiveRead], 104, 25) // 32.768 us
	s.Unmatched = 3
	return s
}

func TestScreen(t *testing.T) {
	var out bytes.Buffer
	s := &screen{w: &out, device: "sda", requests: true, terminal: true}
	v := view{whole: sample(), recent: sample(), elapsed: 2 * time.Second, interval: time.Second}
	s.show(v)
	want := `sda, 2 s, Ctrl-C ends

us                    I/Os     per s      mean       p50       p90       p99     p99.9       max
read    queue          100       100      2.05      2.05      2.05      2.05         -      2.05
read    device         100       100     14.34      8.70     32.77     32.77         -     32.77

read, device
   8.2 us - 16.4 us   |##################################################|  75.00 %
  16.4 us - 32.8 us   |                                                  |   0.00 %
  32.8 us - 65.5 us   |#################                                 |  25.00 %

unmatched: 3 (beginning not seen)
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	v.ended = true
	s.show(v)
	if !strings.HasPrefix(out.String(), "\x1b[12A\x1b[Jsda, 2 s\n") {
		t.Errorf("is not drawn over the last: %q", out.String())
	}
	if !strings.Contains(out.String(), "100        50 ") {
		t.Errorf("at the end the rate is not that of the whole time:\n%s", out.String())
	}
}

func TestLines(t *testing.T) {
	var out bytes.Buffer
	s := &screen{w: &out, device: "zram0"}
	s.show(view{elapsed: time.Second, interval: time.Second})
	s.show(view{recent: sample(), elapsed: 2 * time.Second, interval: time.Second})
	want := "   1s no I/O on zram0\n   2s read         100/s  queue p50 2.05 p99 2.05 us  device p50 8.70 p99 32.77 us\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	s.show(view{elapsed: 2 * time.Second, interval: time.Second, ended: true})
	if !strings.Contains(out.String(), "no queue stage") || !strings.Contains(out.String(), "no I/O so far") {
		t.Errorf("the end says %q", out.String())
	}
	if s.requests || strings.Contains(out.String(), "\x1b") {
		t.Error("escape sequences outside a terminal")
	}
}

type broken struct{}

var errFull = errors.New("disk full")

func (broken) Write([]byte) (int, error) { return 0, errFull }

// A closed pipe ends the command instead of letting it watch for nobody.
func TestBrokenOutput(t *testing.T) {
	path := blocktest.Loop(t, blocktest.File(t, blocktest.Tmpfs(t), 1<<20), 4096)
	err := Watch(context.Background(), Options{Device: path, Interval: 100 * time.Millisecond}, broken{})
	if !errors.Is(err, errFull) {
		t.Errorf("ended with %v", err)
	}
}
