package workload

import (
	"time"

	"sealbay/blockcrypt/blockdev"
)

// Section is one mode's turn at one workload: what the clock runs over.
type Section struct {
	Work Workload
	// Base is where the region starts on the device, Span its length, both in
	// bytes; Span is a multiple of every block size used on it.
	Base, Span int64
	// Run is a number that no other run uses; Order shuffles random blocks
	// and is the same for every mode of a round.
	Run, Order uint64
	// Tag marks what this section writes; Source is the section that wrote
	// what this one reads.
	Tag, Source Tag
	// Unit is the length in bytes of the stamped units: no more than any
	// block size used on the region.
	Unit int
	// Warmup runs before the clock starts. After Length it stops; if Ops is
	// not 0, exactly so many operations are done instead, untimed.
	Warmup, Length time.Duration
	Ops            int64
}

// FillSection is the fill of the region by the mode and round of tag.
func FillSection(s Section, tag Tag) Section {
	s.Work, s.Tag = Fill(), tag
	s.Ops = s.Span / fillBlock
	return s
}

func (s *Section) order() order {
	return newOrder(s.Span/int64(s.Work.BlockSize), s.Work.Random, s.Order)
}

// Outcome is what a section took.
type Outcome struct {
	Ops     int64         // completed while the clock ran
	Bytes   int64         // moved by them
	Elapsed time.Duration // of the clock
	CPU     time.Duration // user and system time of the process meanwhile
	Issued  int64         // operations in all, warm-up and last ones in flight included
	Stages  Stages
	GC      GC
}

// Stages are sums over the timed operations, in nanoseconds, of the time
// between two stamps of the request (blockdev.Stamps). Stamped counts the
// operations whose stamps were all there and in order.
type Stages struct {
	Stamped int64 `json:"stamped"`
	Encrypt int64 `json:"encrypt"` // taken over until ciphertext was ready (writes of a volume)
	Submit  int64 `json:"submit"`  // until handed to the kernel
	Device  int64 `json:"device"`  // until the kernel's answer was seen
	Decrypt int64 `json:"decrypt"` // until plaintext was ready (reads of a volume)
	Reap    int64 `json:"reap"`    // until given back
}

// add takes over the stamps of one request. A station that was not passed
// (0) takes no time of its own.
func (s *Stages) add(t *blockdev.Stamps) {
	enc, dec := t.Encrypted, t.Decrypted
	if enc == 0 {
		enc = t.Submitted
	}
	if dec == 0 {
		dec = t.Completed
	}
	if t.Submitted == 0 || enc < t.Submitted || t.Issued < enc || t.Completed < t.Issued || dec < t.Completed || t.Reaped < dec {
		return
	}
	s.Stamped++
	s.Encrypt += enc - t.Submitted
	s.Submit += t.Issued - enc
	s.Device += t.Completed - t.Issued
	s.Decrypt += dec - t.Completed
	s.Reap += t.Reaped - dec
}

// Merge adds what o holds.
func (s *Stages) Merge(o Stages) {
	s.Stamped += o.Stamped
	s.Encrypt += o.Encrypt
	s.Submit += o.Submit
	s.Device += o.Device
	s.Decrypt += o.Decrypt
	s.Reap += o.Reap
}

// GC is what Go's garbage collector did meanwhile.
type GC struct {
	Cycles uint32
	Pause  time.Duration
}
