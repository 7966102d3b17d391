// Package report prints what a run of package bench gave. Everything in it is
// a pure function of the result: nothing is measured, decided or looked up
// here.
package report

import (
	"encoding/json"
	"io"

	"sealbay/bench"
)

// JSON writes the result in its own versioned form (bench.Schema).
func JSON(w io.Writer, res *bench.Result) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(res)
}
