package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

type options struct {
	rounds  int
	seconds int // of one run of openssl speed
	impl    string
	bits    []int
	sectors []int // bytes
	seed    uint64
}

func parse(args []string, stderr io.Writer) (*options, int) {
	o := &options{bits: []int{256}, sectors: []int{512, 4096, 65536}}
	f := flag.NewFlagSet("compare-openssl", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.rounds, "rounds", 9, "rounds")
	f.IntVar(&o.seconds, "seconds", 1, "seconds of each run of openssl speed")
	f.StringVar(&o.impl, "impl", "", "our implementation (default the best that runs here)")
	f.Func("bits", "bits of the AES key, comma-separated: 128, 256 (default 256)", list(&o.bits, 128, 256))
	f.Func("sectors", "bytes of a sector, comma-separated (default 512,4096,65536)", list(&o.sectors))
	f.Uint64Var(&o.seed, "seed", 1, "seed of the order")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, 0
		}
		return nil, 2
	}
	switch {
	case f.NArg() > 0:
		fmt.Fprintf(stderr, "compare-openssl: unexpected argument %q\n", f.Arg(0))
	case o.rounds < 1:
		fmt.Fprintf(stderr, "compare-openssl: --rounds %d: want at least 1\n", o.rounds)
	case o.seconds < 1:
		fmt.Fprintf(stderr, "compare-openssl: --seconds %d: want at least 1\n", o.seconds)
	default:
		return o, -1
	}
	return nil, 2
}

// list parses comma-separated numbers, of those allowed if any are named.
func list(to *[]int, allowed ...int) func(string) error {
	return func(s string) error {
		*to = nil
		for _, part := range strings.Split(s, ",") {
			n, err := strconv.Atoi(part)
			if err != nil || n <= 0 || allowed != nil && !slices.Contains(allowed, n) {
				return fmt.Errorf("%q: want a number", part)
			}
			*to = append(*to, n)
		}
		return nil
	}
}
