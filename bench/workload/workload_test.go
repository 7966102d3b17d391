package workload

import (
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sealbay/bench/internal/bent"
	"sealbay/bench/stats"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blocktest"
)

const span = 8 * mib

func section(w Workload) Section {
	return Section{Work: w, Base: 64 * kib, Span: span, Run: 0xfeedface, Order: 3, Unit: 4 * kib,
		Tag: Tag{Mode: 1, Step: 2, Round: 3}, Source: Tag{Mode: 1, Round: 3},
		Warmup: 2 * time.Millisecond, Length: 30 * time.Millisecond}
}

// turn is one mode's turn as bench does it: fill what will be read, run,
// verify. fill and run are the devices for either part.
func turn(t *testing.T, fill, run blockdev.Device, s Section) (Outcome, *stats.Hist, error) {
	t.Helper()
	bufs, err := NewBuffers(mib, 32, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer bufs.Close()
	hist := stats.NewHist()
	if s.Work.ReadsData() {
		if _, err := once(t, fill, bufs, FillSection(s, s.Source), stats.NewHist()); err != nil {
			t.Fatalf("filling: %v", err)
		}
	}
	out, err := once(t, run, bufs, s, hist)
	return out, hist, err
}

func once(t *testing.T, dev blockdev.Device, bufs *Buffers, s Section, hist *stats.Hist) (Outcome, error) {
	t.Helper()
	l, err := Open(dev, s.Work, bufs, new(atomic.Bool), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, err := l.Run(s, hist)
	if err != nil {
		return out, err
	}
	return out, l.Verify(64, rand.New(rand.NewPCG(1, 1)))
}

func drive() *blocktest.Memory { return blocktest.New(64*kib+span, blocktest.Options{}) }

func TestEveryWorkloadAtEveryDepth(t *testing.T) {
	for _, w := range Headline() {
		for _, depth := range []int{1, 7, 32} {
			w.Depth = depth
			t.Run(w.Name, func(t *testing.T) {
				d := drive()
				out, hist, err := turn(t, d, d, section(w))
				if err != nil {
					t.Fatal(err)
				}
				if out.Ops == 0 || hist.Count() != out.Ops || out.Bytes != out.Ops*int64(w.BlockSize) {
					t.Errorf("depth %d: %d operations, %d bytes, %d latencies", depth, out.Ops, out.Bytes, hist.Count())
				}
				if out.Elapsed < 30*time.Millisecond || out.Issued <= out.Ops || out.CPU <= 0 {
					t.Errorf("depth %d: elapsed %v, issued %d of %d, CPU %v", depth, out.Elapsed, out.Issued, out.Ops, out.CPU)
				}
			})
		}
	}
}

// A bench on a device that lies must fail, whatever the lie.
func TestLiesAreFound(t *testing.T) {
	read, write := headline[2], headline[3]
	flip := func(r *blockdev.Request, at int) {
		if r.Op == blockdev.Read {
			r.Buf[at] ^= 1
		}
	}
	honest := false
	for _, c := range []struct {
		name          string
		work          Workload
		before, after func(n int, r *blockdev.Request)
		want          string
	}{
		{"decrypts to garbage", read, nil, func(_ int, r *blockdev.Request) {
			for i := range r.Buf {
				r.Buf[i] ^= 0xa5
			}
		}, "bytes that this run never wrote"},
		{"one bit of each body", read, nil, func(_ int, r *blockdev.Request) { flip(r, 3000) }, "damaged body"},
		{"reads nothing", read, nil, func(_ int, r *blockdev.Request) { clear(r.Buf) }, "zeros"},
		{"repeats one block", read, func(_ int, r *blockdev.Request) { r.Offset = 64 * kib }, nil, "the block of offset"},
		{"damages bodies until the clock has stopped", read, nil, func(_ int, r *blockdev.Request) {
			if honest = honest || r.Op == blockdev.Flush; !honest {
				flip(r, 3000)
			}
		}, "damaged body"},
		{"garbles reads for a while", read, nil, func(n int, r *blockdev.Request) {
			if r.Op == blockdev.Read && n > 50 && n < 150 {
				r.Buf[8] ^= 1
			}
		}, "the block of offset"},
		{"swaps neighbours", write, bent.SwapWrites(), nil, "the block of offset"},
		{"drops every second write", write, bent.DropWrites(func(n int) bool { return n%2 == 0 }), nil, "older data|zeros|the data of write"},
		{"drops one write in five", write, bent.DropWrites(func(n int) bool { return n%5 == 0 }), nil, "older data|zeros|the data of write"},
		{"drops all sequential writes but the first pass", headline[1], bent.DropWrites(func(n int) bool { return n >= 8 }), nil, "the data of write"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := drive()
			_, _, err := turn(t, d, &bent.Device{Device: d, Before: c.before, After: c.after}, section(c.work))
			var bad *MismatchError
			if !errors.As(err, &bad) {
				t.Fatalf("the run ended with %v", err)
			}
			if !matches(err.Error(), c.want) {
				t.Errorf("%q says nothing of %q", err, c.want)
			}
		})
	}
}

func matches(text, alternatives string) bool {
	for want := range strings.SplitSeq(alternatives, "|") {
		if strings.Contains(text, want) {
			return true
		}
	}
	return false
}

// Data of another round, mode or run is not what was to be read.
func TestStaleDataIsFound(t *testing.T) {
	for name, change := range map[string]func(*Section){
		"round": func(s *Section) { s.Source.Round++ },
		"mode":  func(s *Section) { s.Source.Mode++ },
		"run":   func(s *Section) { s.Run++ },
	} {
		t.Run(name, func(t *testing.T) {
			bufs, err := NewBuffers(mib, 1, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer bufs.Close()
			d, s := drive(), section(headline[0])
			if _, err := once(t, d, bufs, FillSection(s, s.Source), stats.NewHist()); err != nil {
				t.Fatal(err)
			}
			change(&s)
			var bad *MismatchError
			if _, err := once(t, d, bufs, s, stats.NewHist()); !errors.As(err, &bad) {
				t.Errorf("reading the data of another %s ended with %v", name, err)
			}
		})
	}
}

func TestIOErrorIsPassedOn(t *testing.T) {
	d := drive()
	d.FailAt(40, io.ErrUnexpectedEOF)
	_, _, err := turn(t, d, d, section(headline[3]))
	var op *blockdev.OpError
	if !errors.As(err, &op) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a failed write ended the run with %v", err)
	}
}

func TestStop(t *testing.T) {
	bufs, err := NewBuffers(mib, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer bufs.Close()
	var stop atomic.Bool
	l, err := Open(drive(), headline[3], bufs, &stop, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	time.AfterFunc(20*time.Millisecond, func() { stop.Store(true) })
	s := section(headline[3])
	s.Length = time.Hour
	if _, err := l.Run(s, stats.NewHist()); !errors.Is(err, ErrStopped) {
		t.Errorf("a stopped section ended with %v", err)
	}
}

func TestSelect(t *testing.T) {
	ws, err := Select(" w3,W1")
	if err != nil || len(ws) != 2 || ws[0].ID != "W3" || ws[1].ID != "W1" {
		t.Errorf("selected %v, %v", ws, err)
	}
	if ws, err := Select(""); err != nil || len(ws) != 4 {
		t.Errorf("the empty list selected %v, %v", ws, err)
	}
	ws, err = Select("randwrite:128KiB:8,read:1M:2")
	if err != nil || ws[0] != (Workload{"randwrite:128KiB:8", "random write 128 KiB", 0, 128 << 10, 8, true}) ||
		ws[1] != (Workload{"read:1M:2", "sequential read 1 MiB", 100, 1 << 20, 2, false}) {
		t.Errorf("described %+v, %v", ws, err)
	}
	for _, bad := range []string{"W9", "W1,,W2", "W1,W1", "trim:4KiB:1", "read:4000:1", "read:512:1", "read:8MiB:1",
		"read:4KiB:0", "read:4KiB:257", "read:4MiB:32", "read:4KiB:x", "read:4KiB"} {
		if _, err := Select(bad); err == nil || !strings.Contains(err.Error(), "workload") {
			t.Errorf("%q was selected: %v", bad, err)
		}
	}
}
