package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"
)

type options struct {
	target string
	loop   bool
	writes bool
	size   int64 // bytes
	rounds int
	time   time.Duration
	jobs   []job
	pairs  []pair
	seed   uint64
}

// job is one load, named as the issue that sets its bar names it.
type job struct {
	name  string
	rw    string // of fio and blockload alike
	bs    int    // bytes
	depth int
}

var jobs = []job{
	{"4k-qd1", "randread", 4 << 10, 1},
	{"4k-qd1-write", "randwrite", 4 << 10, 1},
	{"1m-seq-read", "read", 1 << 20, 1},
	{"1m-seq-write", "write", 1 << 20, 1},
	{"4k-qd32", "randread", 4 << 10, 32},
	{"128k-qd4", "randread", 128 << 10, 4},
	{"4k-qd32-write", "randwrite", 4 << 10, 32},
	{"128k-qd4-write", "randwrite", 128 << 10, 4},
}

// pair is which engine of ours stands against which of fio's.
type pair struct{ ours, fio string }

var pairs = []pair{{"direct", "psync"}, {"io_uring", "io_uring"}, {"io_uring", "psync"}}

func (p pair) String() string { return p.ours + "/" + p.fio }

// suits: fio's psync has one request in flight whatever the depth.
func (p pair) suits(j job) bool { return p.fio != "psync" || j.depth == 1 }

func parse(args []string, stderr io.Writer) (*options, int) {
	o := new(options)
	f := flag.NewFlagSet("compare-fio", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.target, "target", "", "file or block device; default is a new file in this folder")
	f.BoolVar(&o.loop, "loop", false, "use a new loop device over tmpfs")
	f.BoolVar(&o.writes, "writes", false, "run write jobs too on a --target, destroying its content")
	f.Int64Var(&o.size, "size", 1<<30, "bytes of the target to use")
	f.IntVar(&o.rounds, "rounds", 20, "rounds; each runs every job once on both sides")
	f.DurationVar(&o.time, "time", time.Second, "time of one run, from 100ms")
	f.Uint64Var(&o.seed, "seed", 1, "seed of the order of runs and of the bootstrap")
	names := f.String("jobs", "4k-qd1,1m-seq-read,1m-seq-write", "of "+all(jobs))
	which := f.String("pairs", "direct/psync", "ours/fio, of "+all(pairs))
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, 0
		}
		return nil, 2
	}
	if err := o.fill(f.NArg(), *names, *which); err != nil {
		fmt.Fprintln(stderr, "compare-fio:", err)
		return nil, 2
	}
	return o, -1
}

func (j job) String() string { return j.name }

func all[T fmt.Stringer](list []T) string {
	var names []string
	for _, v := range list {
		names = append(names, v.String())
	}
	return strings.Join(names, ", ")
}

func pick[T fmt.Stringer](list []T, names string) (picked []T, err error) {
next:
	for _, name := range strings.Split(names, ",") {
		for _, v := range list {
			if v.String() == name {
				picked = append(picked, v)
				continue next
			}
		}
		return nil, fmt.Errorf("%q: want of %s", name, all(list))
	}
	return picked, nil
}

func (o *options) fill(extra int, names, which string) (err error) {
	switch {
	case extra > 0:
		return errors.New("takes no arguments, only flags")
	case o.target != "" && o.loop:
		return errors.New("--target and --loop exclude each other")
	case o.rounds < 2 || o.size < 4<<20:
		return errors.New("want --rounds of 2 or more and --size of 4 MiB or more")
	case o.time < 100*time.Millisecond || o.time%time.Millisecond != 0:
		return errors.New("want --time of whole milliseconds, 100 or more")
	}
	if o.jobs, err = pick(jobs, names); err != nil {
		return fmt.Errorf("--jobs: %w", err)
	}
	if o.pairs, err = pick(pairs, which); err != nil {
		return fmt.Errorf("--pairs: %w", err)
	}
	for _, j := range o.jobs {
		if strings.HasSuffix(j.rw, "write") && o.target != "" && !o.writes {
			return fmt.Errorf("job %s would destroy the content of %s: add --writes if that is meant", j, o.target)
		}
	}
	return nil
}
