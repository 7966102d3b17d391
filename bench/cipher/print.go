package cipher

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteJSON writes the result as indented JSON.
func (r *Result) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteText writes the result as a table for people.
func (r *Result) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "cipher\timpl\top\tsector\tset\tbuffers\tGB/s\tp25\tp75\t%% of bound\tcycles/B\tns/call\tx x/crypto\tx memmove\t\n")
	for _, row := range r.Rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%.2f\t%.2f\t%.2f\t%s\t%s\t%s\t%s\t%s\t\n",
			row.Cipher, row.Impl, row.Op, number(row.Sector), row.Set, buffers(row), row.GBps, row.Low, row.High,
			figure("%.1f", row.Bound), figure("%.3f", row.Cycle), figure("%.1f", row.Call), figure("%.1f", row.XCryp), figure("%.2f", row.Move))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%s, %s, kernel %s, %s", r.Host.CPU, r.Host.Arch, r.Host.Kernel, r.Host.Go)
	if r.Host.GHz > 0 {
		fmt.Fprintf(w, ", %.2f GHz by a chain of multiplications", r.Host.GHz)
	}
	fmt.Fprintf(w, "\nMedians of %d interleaved rounds, p25 and p75 beside them; ratios are medians of the ratios within a round.\n", r.Plan.Rounds)
	for _, note := range r.Notes {
		fmt.Fprintf(w, "Note: %s.\n", note)
	}
	return nil
}

func number(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func figure(format string, v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf(format, v)
}

func buffers(row Row) string {
	switch {
	case row.Op == Bound:
		return "-"
	case row.InPlace:
		return "in place"
	}
	return "separate"
}
