package probe

import "sealbay/blockcrypt/blockdev"

// KernelStamps says when one I/O passed the kernel's stations, in nanoseconds
// of CLOCK_MONOTONIC, 0 where it was not seen.
type KernelStamps struct {
	Submitted int64 // io_uring took the submission; 0 for blocking calls
	Started   int64 // the first block request was made (or the bio queued)
	Issued    int64 // the first block request went to the driver
	Completed int64 // the driver had finished the last one
	Posted    int64 // io_uring wrote the completion; 0 for blocking calls
	Parts     int   // block requests that carried the I/O
	PartsDone int   // of them, those whose completion was seen
	Bio       bool  // the device makes no requests: there is no Issued
}

// Fault says why the stages of an I/O cannot be told.
type Fault uint8

// The faults, from the way's beginning to its end.
const (
	NoFault    Fault = iota
	NoEngine         // the engine's own stamps are missing
	NoRequest        // no block request was tied to it: merged, punted to a worker, served from memory
	Stale            // the stamps are another I/O's
	NoIssue          // the driver's start was not seen
	NoComplete       // the driver's end was not seen, or not of every part
	Misordered       // a later station bears an earlier time
	numFaults
)

var faultNames = [numFaults]string{
	"none", "no engine stamps", "no block request", "stale", "no issue", "no completion", "misordered",
}

// String returns the fault in words.
func (f Fault) String() string { return faultNames[f] }

// Stage is a leg of an I/O's way.
type Stage uint8

// The stages in the order of the way. Their sum is the time from Submitted to
// Reaped.
const (
	Encrypt  Stage = iota // Submitted to Encrypted; 0 where nothing was encrypted
	Submit                // to the first block request: system call, io_uring, file system
	Queue                 // to the driver: plug, scheduler, waiting for a tag; not told for devices without requests
	Device                // driver and device
	Complete              // until the engine saw the completion
	Decrypt               // Completed to Decrypted; 0 where nothing was decrypted
	Reap                  // until the request was given back
	Kernel                // Issued to Completed undivided, in place of Queue, Device, Complete where there are no kernel stamps
	NumStages
)

var stageNames = [NumStages]string{
	"encrypt", "submit", "queue", "device", "complete", "decrypt", "reap", "kernel",
}

// String returns the stage's name as reports use it.
func (s Stage) String() string { return stageNames[s] }

// Times holds nanoseconds by stage.
type Times [NumStages]int64

// Divide tells how long each stage of an I/O took, from the engine's stamps
// and the kernel's. It answers a Fault, and no times, when a needed stamp is
// missing, belongs to another I/O, or is out of order.
func Divide(e blockdev.Stamps, k KernelStamps) (Times, Fault) {
	if fault := kernelFault(e, k); fault != NoFault {
		return Times{}, fault
	}
	var t Times
	w := walk{at: e.Submitted}
	t[Encrypt] = w.optional(e.Encrypted)
	t[Submit] = w.to(k.Started)
	if !k.Bio {
		t[Queue] = w.to(k.Issued)
	}
	t[Device] = w.to(k.Completed)
	t[Complete] = w.to(e.Completed)
	t[Decrypt] = w.optional(e.Decrypted)
	t[Reap] = w.to(e.Reaped)
	return w.end(t)
}

// DivideEngine is Divide without a kernel probe: the engine's stages, and
// Kernel for what lies between.
func DivideEngine(e blockdev.Stamps) (Times, Fault) {
	if engineFault(e) {
		return Times{}, NoEngine
	}
	var t Times
	w := walk{at: e.Submitted}
	t[Encrypt] = w.optional(e.Encrypted)
	t[Submit] = w.to(e.Issued)
	t[Kernel] = w.to(e.Completed)
	t[Decrypt] = w.optional(e.Decrypted)
	t[Reap] = w.to(e.Reaped)
	return w.end(t)
}

func engineFault(e blockdev.Stamps) bool {
	return e.Submitted == 0 || e.Issued == 0 || e.Completed == 0 || e.Reaped == 0
}

func kernelFault(e blockdev.Stamps, k KernelStamps) Fault {
	switch {
	case engineFault(e):
		return NoEngine
	case k.Parts == 0 || k.Started == 0:
		return NoRequest
	case k.Started < e.Issued || k.Started > e.Completed:
		return Stale
	case k.Issued == 0 && !k.Bio:
		return NoIssue
	case k.Completed == 0 || k.PartsDone != k.Parts:
		return NoComplete
	case k.Submitted != 0 && (k.Submitted < e.Issued || k.Submitted > k.Started):
		return Misordered
	}
	return NoFault
}

// walk goes from station to station and remembers a step back.
type walk struct {
	at   int64
	back bool
}

func (w *walk) to(next int64) int64 {
	step := next - w.at
	w.back = w.back || step < 0
	w.at = next
	return step
}

// optional is to, for a station that the I/O need not have passed.
func (w *walk) optional(next int64) int64 {
	if next == 0 {
		return 0
	}
	return w.to(next)
}

func (w *walk) end(t Times) (Times, Fault) {
	if w.back {
		return Times{}, Misordered
	}
	return t, NoFault
}
