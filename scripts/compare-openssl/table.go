package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

func table(w io.Writer, o *options, version string, found map[job]*rates) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "cipher\top\tsector\topenssl GB/s\tours, one a call\tratio\tspread\tours, batch\tratio\tspread\t")
	for _, j := range jobs(o) {
		r := found[j]
		fmt.Fprintf(t, "aes-%d-xts\t%s\t%d\t%.2f\t%.2f\t%s\t%.2f\t%s\t\n", j.bits, j.op(), j.sector, median(r.openssl),
			median(r.single), ratio(r.single, r.openssl), median(r.batch), ratio(r.batch, r.openssl))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s against ours (%s): ratios of medians over %d interleaved rounds, the spread is that of the ratios within a round.\n"+
		"openssl speed counts user time, ours is wall time of samples of 0.2 ms: a busy host hurts ours more.\n",
		strings.TrimSpace(version), o.impl, o.rounds)
	return err
}

// ratio prints the ratio of the medians and the spread of the ratios.
func ratio(over, under []float64) string {
	var q []float64
	for i := range over {
		q = append(q, over[i]/under[i])
	}
	return fmt.Sprintf("%.2f\t%.2f to %.2f", median(over)/median(under), slices.Min(q), slices.Max(q))
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
