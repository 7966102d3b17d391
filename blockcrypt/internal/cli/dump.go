package cli

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sealbay/blockcrypt"
	"sealbay/blockcrypt/blockdev"
)

func dumpCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "dump DRIVE", Short: "Show what a header says; needs no key and proves nothing", Args: onDrive,
		RunE: func(_ *cobra.Command, args []string) error {
			return withDrive(args[0], false, func(d blockdev.Device) error {
				sum, err := blockcrypt.Inspect(d)
				if err != nil {
					return err
				}
				if err := a.dump(d.Info(), sum, asJSON); err != nil {
					return err
				}
				return complaint(d.Info().Path, sum)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}

// complaint is the error that dump ends with when a header can be read but is
// not as it should be.
func complaint(path string, sum *blockcrypt.Summary) error {
	err := sum.Foreign
	if err == nil {
		err = sum.Degraded()
	}
	if err != nil {
		return fmt.Errorf("reading the header of %s: %w", path, err)
	}
	return nil
}

func (a *app) dump(info blockdev.Info, sum *blockcrypt.Summary, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(a.stdout)
		e.SetIndent("", "  ")
		return e.Encode(view(info, sum))
	}
	printSummary(a.stdout, view(info, sum))
	return nil
}

// summaryView is the JSON of dump.
type summaryView struct {
	Path       string     `json:"path"`
	UUID       string     `json:"uuid"`
	Label      string     `json:"label"`
	Generation uint64     `json:"generation"`
	DataOffset int64      `json:"data_offset_bytes"`
	DataSize   int64      `json:"data_size_bytes"`
	Keys       []keyView  `json:"keys"`
	Copies     []copyView `json:"header_copies"`
	Foreign    string     `json:"foreign,omitempty"`
}

type keyView struct {
	Epoch     uint64 `json:"epoch"`
	Store     string `json:"store"`
	KMIPKeyID string `json:"kmip_key_id"`
	Offset    int64  `json:"keyslot_offset_bytes"`
	Unusable  string `json:"unusable,omitempty"`
}

type copyView struct {
	Name    string `json:"name"`
	SeqID   uint64 `json:"sequence_number"`
	Problem string `json:"problem"`
}

func view(info blockdev.Info, s *blockcrypt.Summary) summaryView {
	v := summaryView{
		Path: info.Path, UUID: s.UUID, Label: s.Label, Generation: s.Generation,
		DataOffset: s.DataOffset, DataSize: info.Size - s.DataOffset, Foreign: text(s.Foreign),
	}
	for _, k := range s.Slots {
		v.Keys = append(v.Keys, keyView{k.Key.Epoch, k.Key.Store, k.Key.KMIPKeyID, k.Offset, text(k.Usable)})
	}
	for _, c := range s.Copies {
		v.Copies = append(v.Copies, copyView{c.Name, c.SeqID, text(c.Problem)})
	}
	return v
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func printSummary(w io.Writer, v summaryView) {
	fmt.Fprintf(w, "drive       %s\nUUID        %s\nlabel       %q\ngeneration  %d\n", v.Path, v.UUID, v.Label, v.Generation)
	fmt.Fprintf(w, "data        %d bytes from byte %d\ncipher      aes-xts-plain64, key of 512 bits, sectors of %d bytes\n", v.DataSize, v.DataOffset, blockcrypt.SectorSize)
	for _, k := range v.Keys {
		fmt.Fprintf(w, "key         %s, keyslot at byte %d\n", k.describe(), k.Offset)
	}
	for _, c := range v.Copies {
		if c.Problem != "" {
			fmt.Fprintf(w, "%-11s %s\n", c.Name, c.Problem)
			continue
		}
		fmt.Fprintf(w, "%-11s whole, sequence number %d\n", c.Name, c.SeqID)
	}
	if v.Foreign == "" {
		fmt.Fprintln(w, "seal        not checked: that takes a key (sealvol open-test)")
	}
}

func (k keyView) describe() string {
	switch {
	case k.Unusable != "":
		return "of another kind"
	case k.Store == "":
		return "of no known epoch"
	case k.KMIPKeyID != "":
		return fmt.Sprintf("epoch %d, store %s, KMIP key ID %q", k.Epoch, k.Store, k.KMIPKeyID)
	}
	return fmt.Sprintf("epoch %d, store %s", k.Epoch, k.Store)
}
