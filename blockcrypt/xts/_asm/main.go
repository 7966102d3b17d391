// Command _asm writes the amd64 kernels of package xts. See the go:generate
// lines in ../xts_asm_amd64.go.
package main

import (
	"flag"
	"log"

	. "github.com/mmcloughlin/avo/build"
)

func main() {
	impl := flag.String("impl", "", "kernels to write: vaes512 or vex")
	flag.Parse()
	ConstraintExpr("!purego")
	switch *impl {
	case "vaes512":
		vaes512()
	case "vex":
		vex()
	default:
		log.Fatalf("unknown -impl %q", *impl)
	}
	Generate()
}
