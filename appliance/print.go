package appliance

import (
	"bytes"
	"fmt"
	"io"
	"text/tabwriter"

	"sealbay/appliance/rest"
)

// printDrives prints the drive table for people. fresh holds the UUIDs of
// drives formatted just now.
func printDrives(out io.Writer, drives []rest.Drive, fresh map[string]bool) error {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "DRIVE\tSERIAL\tSIZE\tUUID\tSTATE")
	for _, d := range drives {
		state := d.State
		if fresh[d.UUID] {
			state += ", formatted now"
		}
		if d.Detail != "" {
			state += ": " + d.Detail
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", dash(d.Path), dash(d.Serial), size(d.SizeBytes), dash(d.UUID), state)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := b.WriteTo(out)
	return err
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// size gives bytes in binary units with one decimal: "256.0 MiB".
func size(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, u := float64(n)/1024, 0
	for ; f >= 1024 && u < len(units)-1; u++ {
		f /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", f, units[u])
}
