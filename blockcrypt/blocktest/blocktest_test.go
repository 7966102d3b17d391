package blocktest

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
	"sealbay/blockcrypt/blockdev"
)

func TestSuite(t *testing.T) {
	for name, o := range map[string]Options{
		"in order":     {},
		"out of order": {Seed: 7},
		"4k sectors":   {Sector: 4096, Align: 512, NoDiscard: true, Seed: 3},
		"read-only":    {ReadOnly: true},
	} {
		t.Run(name, func(t *testing.T) {
			Suite(t, func(*testing.T) blockdev.Device { return New(SuiteSize, o) })
		})
	}
}

func newSync(t *testing.T, m *Memory) *blockdev.Sync {
	t.Helper()
	s, err := blockdev.NewSync(m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func fill(t *testing.T, s *blockdev.Sync, off int64, n int, b byte) {
	t.Helper()
	if _, err := s.WriteAt(bytes.Repeat([]byte{b}, n), off); err != nil {
		t.Fatal(err)
	}
}

// sectorsOf shows the first byte of each sector and, where it differs, of its
// second half.
func sectorsOf(m *Memory, n int) string {
	image, s := m.Image(), ""
	for i := range n {
		a, b := image[i*512], image[i*512+256]
		s += string('0' + rune(a))
		if a != b {
			s += "/" + string('0'+rune(b))
		}
	}
	return s
}

func TestCrashKeepsWhatWasFlushed(t *testing.T) {
	m := New(1<<20, Options{})
	s := newSync(t, m)
	fill(t, s, 0, 1024, 1)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	fill(t, s, 0, 512, 2)
	if err := s.Do(blockdev.Request{Op: blockdev.Write, Flags: blockdev.FUA, Offset: 1024, Buf: bytes.Repeat([]byte{3}, 512)}); err != nil {
		t.Fatal(err)
	}
	fill(t, s, 512, 1024, 4)
	for _, c := range []struct {
		name string
		keep Keep
		want string
	}{
		{"none", KeepNone, "113"}, {"all", KeepAll, "244"}, {"last", KeepLast, "144"}, {"torn", TearLast(2), "244/3"},
	} {
		if got := sectorsOf(m.Crash(c.keep), 3); got != c.want {
			t.Errorf("%s: sectors %s, want %s", c.name, got, c.want)
		}
	}
}

// A flush covers only the writes that were complete when it was submitted.
func TestFlushDoesNotCoverWhatIsInFlight(t *testing.T) {
	m := New(1<<20, Options{})
	q, err := m.OpenQueue(blockdev.QueueOptions{Depth: 2})
	if err != nil {
		t.Fatal(err)
	}
	reqs := []*blockdev.Request{{Op: blockdev.Write, Buf: bytes.Repeat([]byte{1}, 512)}, {Op: blockdev.Flush}}
	if n, err := q.Submit(reqs); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := q.Reap(reqs, 2); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if got := sectorsOf(m.Crash(KeepNone), 1); got != "0" {
		t.Errorf("a write in flight at the flush survived: %s", got)
	}
}

func TestCutsGoThroughEveryState(t *testing.T) {
	m := New(1<<20, Options{})
	s := newSync(t, m)
	fill(t, s, 0, 1024, 1)
	m.Record()
	fill(t, s, 0, 1024, 2)
	fill(t, s, 1024, 512, 3)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.Do(blockdev.Request{Op: blockdev.WriteZeroes, Offset: 512, Length: 512}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for name, drive := range m.Cuts(1) {
		t.Log(name, sectorsOf(drive, 3))
		seen[sectorsOf(drive, 3)] = true
	}
	for _, want := range []string{"110", "220", "22/10", "113", "223", "203", "20/23"} {
		if !seen[want] {
			t.Errorf("no cut left the drive as %s", want)
		}
	}
	if got := m.Journal(); len(got) != 4 || got[0].String() != "write at 0+1024" || got[2].String() != "flush" {
		t.Errorf("journal %v", got)
	}
}

func TestFaults(t *testing.T) {
	m := New(1<<20, Options{})
	s := newSync(t, m)
	m.FailAt(1, unix.EIO)
	fill(t, s, 0, 512, 1)
	_, err := s.WriteAt(make([]byte, 512), 512)
	if want := "write memory at 512+512: input/output error"; err == nil || err.Error() != want || !errors.Is(err, unix.EIO) {
		t.Errorf("got %v, want %s", err, want)
	}
	fill(t, s, 0, 512, 2)

	m.ShortAt(0, 512)
	if _, err := s.WriteAt(bytes.Repeat([]byte{5}, 1024), 0); !errors.Is(err, blockdev.ErrShort) {
		t.Errorf("short write: %v", err)
	}
	if got := sectorsOf(m, 2); got != "50" {
		t.Errorf("after a short write: %s", got)
	}

	m.PowerOffAt(1)
	fill(t, s, 0, 512, 6)
	for range 2 {
		if err := s.Flush(); !errors.Is(err, ErrPowerCut) {
			t.Errorf("flush without power: %v", err)
		}
	}
	if got := sectorsOf(m.Crash(KeepNone), 1); got == "6" {
		t.Error("a flush that failed made a write stable")
	}
	m.Vanish()
	if _, err := s.ReadAt(make([]byte, 512), 0); !errors.Is(err, unix.ENODEV) {
		t.Errorf("read of a pulled drive: %v", err)
	}
}

func TestJournalDoesNotGrowUnrecorded(t *testing.T) {
	m := New(1<<20, Options{})
	s := newSync(t, m)
	for i := range 10 {
		fill(t, s, 0, 512, byte(i))
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(m.Journal()); n != 0 {
		t.Errorf("%d entries after a flush", n)
	}
	if got := sectorsOf(m.Crash(KeepNone), 1); got != "9" {
		t.Errorf("stable content %s, want 9", got)
	}
}

func TestPowerCut(t *testing.T) {
	PowerCut(t, New(1<<20, Options{}), func(_ *testing.T, m *Memory) blockdev.Device { return m })
}
