package probe

import (
	"testing"

	"sealbay/blockcrypt/blockdev"
)

// A way with a different time for every stage: 1, 2, 4 ... ns.
var (
	wholeEngine = blockdev.Stamps{Submitted: 100, Encrypted: 101, Issued: 102, Completed: 131, Decrypted: 163, Reaped: 227}
	wholeKernel = KernelStamps{Submitted: 102, Started: 103, Issued: 107, Completed: 115, Posted: 120, Parts: 1, PartsDone: 1}
	wholeTimes  = Times{Encrypt: 1, Submit: 2, Queue: 4, Device: 8, Complete: 16, Decrypt: 32, Reap: 64}
)

func TestDivide(t *testing.T) {
	type stamps struct {
		e blockdev.Stamps
		k KernelStamps
	}
	for _, c := range []struct {
		name  string
		edit  func(*stamps)
		times Times
		fault Fault
	}{
		{"all stamps", func(*stamps) {}, wholeTimes, NoFault},
		{"plain: neither encrypted nor decrypted", func(s *stamps) { s.e.Encrypted, s.e.Decrypted = 0, 0 },
			Times{Submit: 3, Queue: 4, Device: 8, Complete: 16, Reap: 96}, NoFault},
		{"blocking: no io_uring stamps", func(s *stamps) { s.k.Submitted, s.k.Posted = 0, 0 }, wholeTimes, NoFault},
		{"several parts, all done", func(s *stamps) { s.k.Parts, s.k.PartsDone = 3, 3 }, wholeTimes, NoFault},
		{"a device without requests", func(s *stamps) { s.k.Bio, s.k.Issued = true, 0 },
			Times{Encrypt: 1, Submit: 2, Device: 12, Complete: 16, Decrypt: 32, Reap: 64}, NoFault},
		{"all at one time", func(s *stamps) {
			s.e = blockdev.Stamps{Submitted: 5, Issued: 5, Completed: 5, Reaped: 5}
			s.k = KernelStamps{Submitted: 5, Started: 5, Issued: 5, Completed: 5, Parts: 1, PartsDone: 1}
		}, Times{}, NoFault},
		{"not submitted", func(s *stamps) { s.e.Submitted = 0 }, Times{}, NoEngine},
		{"not issued by the engine", func(s *stamps) { s.e.Issued = 0 }, Times{}, NoEngine},
		{"not completed by the engine", func(s *stamps) { s.e.Completed = 0 }, Times{}, NoEngine},
		{"not reaped", func(s *stamps) { s.e.Reaped = 0 }, Times{}, NoEngine},
		{"an empty slot", func(s *stamps) { s.k = KernelStamps{} }, Times{}, NoRequest},
		{"a merged bio", func(s *stamps) { s.k.Parts, s.k.Started = 0, 0 }, Times{}, NoRequest},
		{"stamps of the I/O before", func(s *stamps) { s.k.Started = 90 }, Times{}, Stale},
		{"stamps of the I/O after", func(s *stamps) { s.k.Started = 140 }, Times{}, Stale},
		{"issue missed", func(s *stamps) { s.k.Issued = 0 }, Times{}, NoIssue},
		{"completion missed", func(s *stamps) { s.k.Completed, s.k.PartsDone = 0, 0 }, Times{}, NoComplete},
		{"one part's completion missed", func(s *stamps) { s.k.Parts = 2 }, Times{}, NoComplete},
		{"a completion too many", func(s *stamps) { s.k.PartsDone = 2 }, Times{}, NoComplete},
		{"issued before started", func(s *stamps) { s.k.Issued = 102 }, Times{}, Misordered},
		{"completed before issued", func(s *stamps) { s.k.Completed = 106 }, Times{}, Misordered},
		{"completed after the engine saw it", func(s *stamps) { s.k.Completed = 132 }, Times{}, Misordered},
		{"submitted before it was issued", func(s *stamps) { s.k.Submitted = 101 }, Times{}, Misordered},
		{"submitted after it started", func(s *stamps) { s.k.Submitted = 104 }, Times{}, Misordered},
		{"decrypted before completed", func(s *stamps) { s.e.Decrypted = 130 }, Times{}, Misordered},
		{"reaped before decrypted", func(s *stamps) { s.e.Reaped = 162 }, Times{}, Misordered},
		{"encrypted before submitted", func(s *stamps) { s.e.Encrypted = 99 }, Times{}, Misordered},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := stamps{wholeEngine, wholeKernel}
			c.edit(&s)
			times, fault := Divide(s.e, s.k)
			if times != c.times || fault != c.fault {
				t.Errorf("got %v, %v; want %v, %v", times, fault, c.times, c.fault)
			}
		})
	}
}

// Whatever the stamps, times without a fault add up to the whole.
func FuzzDivide(f *testing.F) {
	f.Add(int64(1), int64(2), int64(3), int64(4), int64(5), int64(6), int64(7), int64(8), int64(9))
	f.Add(int64(1), int64(0), int64(3), int64(3), int64(3), int64(3), int64(7), int64(0), int64(9))
	f.Fuzz(func(t *testing.T, submitted, encrypted, issued, kStarted, kIssued, kCompleted, completed, decrypted, reaped int64) {
		e := blockdev.Stamps{Submitted: submitted, Encrypted: encrypted, Issued: issued, Completed: completed, Decrypted: decrypted, Reaped: reaped}
		k := KernelStamps{Started: kStarted, Issued: kIssued, Completed: kCompleted, Parts: 1, PartsDone: 1}
		times, fault := Divide(e, k)
		var sum int64
		for s, ns := range times {
			sum += ns
			if ns < 0 {
				t.Errorf("%v took %d ns", Stage(s), ns)
			}
		}
		if fault == NoFault && sum != reaped-submitted {
			t.Errorf("stages sum to %d ns of %d", sum, reaped-submitted)
		}
		if fault != NoFault && times != (Times{}) {
			t.Errorf("times %v with fault %v", times, fault)
		}
	})
}

func TestDivideEngine(t *testing.T) {
	want := Times{Encrypt: 1, Submit: 1, Kernel: 29, Decrypt: 32, Reap: 64}
	if times, fault := DivideEngine(wholeEngine); times != want || fault != NoFault {
		t.Errorf("got %v, %v; want %v", times, fault, want)
	}
	if times, fault := DivideEngine(blockdev.Stamps{}); times != (Times{}) || fault != NoEngine {
		t.Errorf("no stamps: got %v, %v", times, fault)
	}
	e := wholeEngine
	e.Completed = 101
	if times, fault := DivideEngine(e); times != (Times{}) || fault != Misordered {
		t.Errorf("completed before issued: got %v, %v", times, fault)
	}
}
