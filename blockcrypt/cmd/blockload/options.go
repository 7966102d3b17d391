package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"sealbay/blockcrypt/blockdev/engine"
)

// load is what is asked for.
type load struct {
	path   string
	engine string
	rw     string // read, write, randread, randwrite
	block  int    // bytes
	depth  int
	size   int64 // bytes of the target to use, 0 all
	time   time.Duration
	stages []string
	rounds int
	touch  bool
}

var stages = []string{"plain", "copy", "encrypt"}

func parse(args []string, stderr io.Writer) (*load, int) {
	l := new(load)
	f := flag.NewFlagSet("blockload", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&l.path, "target", "", "file or block device; writes destroy its content")
	f.StringVar(&l.engine, "engine", engine.Auto, strings.Join(engine.Names(), ", "))
	f.StringVar(&l.rw, "rw", "randread", "read, write, randread or randwrite")
	f.IntVar(&l.block, "bs", 4096, "block size in bytes")
	f.IntVar(&l.depth, "depth", 1, "requests in flight")
	f.Int64Var(&l.size, "size", 0, "bytes of the target to use, from its start; 0 is all")
	f.DurationVar(&l.time, "time", time.Second, "how long one run takes")
	f.IntVar(&l.rounds, "rounds", 1, "runs of each stage, turn by turn in random order")
	f.BoolVar(&l.touch, "touch", false, "use the data: change a byte of each 64 before a write, look at one after a read")
	which := f.String("stages", "plain", "of plain, copy, encrypt (which formats the target as a volume)")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, 0
		}
		return nil, 2
	}
	l.stages = strings.Split(*which, ",")
	if err := l.check(f.NArg()); err != nil {
		fmt.Fprintln(stderr, "blockload:", err)
		return nil, 2
	}
	return l, -1
}

func (l *load) check(extra int) error {
	for _, s := range l.stages {
		if !slices.Contains(stages, s) {
			return fmt.Errorf("--stages %s: want of %s", s, strings.Join(stages, ", "))
		}
	}
	switch {
	case extra > 0 || l.path == "":
		return errors.New("want --target PATH and no other arguments")
	case l.rw != "read" && l.rw != "write" && l.rw != "randread" && l.rw != "randwrite":
		return fmt.Errorf("--rw %s: want read, write, randread or randwrite", l.rw)
	case l.block <= 0 || l.depth <= 0 || l.time <= 0 || l.rounds <= 0 || l.size < 0:
		return errors.New("--bs, --depth, --time and --rounds must be positive, --size not negative")
	}
	return nil
}
