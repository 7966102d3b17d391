// Package bench measures what encryption at rest costs: the same load on the
// same bytes of the same drive, plain and encrypted, in turns.
//
// A Plan says what to do, a Subject on what; Run does it and returns a Result,
// which holds every round as it was measured and what follows from them. All
// three are values: printing is package report's business, opening drives that
// of package target. METHOD.md says how it is measured and what is not.
package bench

import (
	"errors"
	"fmt"
	"time"

	"sealbay/bench/workload"
	"sealbay/blockcrypt"
	"sealbay/blockcrypt/blockdev"
)

// The modes of a run. Plain runs twice in every round, each as a mode of its
// own: their ratio is the A/A control, which must be 1.0.
const (
	Plain      = "plain"
	PlainAgain = "plain_again"
	Encrypted  = "encrypted"
	// PlainCopy copies where Encrypted encrypts: what it costs over Plain is
	// the price of a second buffer, what Encrypted costs over it the cipher's.
	PlainCopy = "plain_copy"
	// The probed modes are as the others, with the kernel's probes on. They
	// tell where time goes; ratios and verdicts come from modes without.
	PlainProbed     = "plain_probed"
	EncryptedProbed = "encrypted_probed"
)

// Plan says what a run measures.
type Plan struct {
	Workloads []workload.Workload
	// Rounds is how many valid rounds each workload gets. Void ones are made
	// up for, by up to as many again.
	Rounds int
	// Budget, if not 0, lets the run go on beyond Rounds until every interval
	// is within 1 % of its ratio, but at most so long after it began.
	Budget time.Duration
	// Section is how long the clock runs for one mode in one round, Warmup how
	// long the load runs before.
	Section, Warmup time.Duration
	// Seed decides the order of modes, the order of random blocks, the content
	// written and the resamples. It does not decide Result.RunID.
	Seed uint64
	// Copy adds the mode PlainCopy, Probes adds the probed modes.
	Copy, Probes bool

	// meter reads what the machine suffers; nil is readMeter. Tests set one, to
	// have rounds void when they want and not when a busy host does.
	meter func() (meter, error)
}

// Check returns the error of a plan that cannot be run.
func (p *Plan) Check() error {
	switch {
	case len(p.Workloads) == 0:
		return errors.New("plan: no workload")
	case p.Rounds < 1 || p.Rounds > maxRounds:
		return fmt.Errorf("plan: %d rounds: want 1 to %d", p.Rounds, maxRounds)
	case p.Section < time.Millisecond:
		return fmt.Errorf("plan: sections of %v: want at least 1ms", p.Section)
	case p.Warmup < 0 || p.Budget < 0:
		return fmt.Errorf("plan: a warm-up of %v and a budget of %v: must not be negative", p.Warmup, p.Budget)
	}
	return nil
}

// maxRounds is what a workload.Tag can number.
const maxRounds = 30_000

// Subject is what is measured: a drive, and an encrypted volume over it.
type Subject struct {
	// Path is where the kernel finds the drive or file, for probes.
	Path string
	// Raw is the drive, with the region that is measured at Base, in bytes.
	Raw  blockdev.Device
	Base int64
	// Volume is the encrypted volume over Raw, whose data start at Base.
	Volume blockdev.Device
	// Span is the length of the region in bytes.
	Span int64
}

// mode is one way to the region.
type mode struct {
	name   string
	like   string // the first mode that takes the same way
	dev    blockdev.Device
	base   int64
	probed bool
}

// modes returns the modes of a plan; their places number them.
func (s *Subject) modes(p *Plan) ([]mode, error) {
	out := []mode{
		{name: Plain, like: Plain, dev: s.Raw, base: s.Base},
		{name: PlainAgain, like: Plain, dev: s.Raw, base: s.Base},
		{name: Encrypted, like: Encrypted, dev: s.Volume},
	}
	if p.Copy {
		copying, err := blockcrypt.NewCopying(s.Raw, blockcrypt.SectorSize, s.Base)
		if err != nil {
			return nil, err
		}
		out = append(out, mode{name: PlainCopy, like: PlainCopy, dev: copying})
	}
	if p.Probes {
		out = append(out,
			mode{name: PlainProbed, like: Plain, dev: s.Raw, base: s.Base, probed: true},
			mode{name: EncryptedProbed, like: Encrypted, dev: s.Volume, probed: true})
	}
	return out, nil
}

// Progress says how far a run is. A run reports it when a step begins.
type Progress struct {
	Doing string        // "W1 round 2 of 5, encrypted"
	Done  float64       // share of the run that is done, 0 to 1
	Left  time.Duration // time left; 0 while it cannot be told yet
}

// IntegrityError says that a mode lost, moved or garbled data, or that
// plaintext reached the drive. The run ends and has no result.
type IntegrityError struct {
	Mode, Step string
	Round      int
	Err        error
}

// Error names mode, workload and round.
func (e *IntegrityError) Error() string {
	return fmt.Sprintf("mode %s, %s, round %d: %v", e.Mode, e.Step, e.Round, e.Err)
}

// Unwrap returns the cause.
func (e *IntegrityError) Unwrap() error { return e.Err }

// ErrPlaintext: what was written in encrypted mode stands readable on the
// drive.
var ErrPlaintext = errors.New("plaintext found on the raw device")
