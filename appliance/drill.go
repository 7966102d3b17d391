package appliance

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"sealbay/appliance/rest"
	"sealbay/blockcrypt"
	"sealbay/keyring/bundle"
)

// opened is a bundle's content.
type opened struct {
	manifest bundle.Manifest
	parts    map[string][]byte
}

// openBundle reads and checks a whole bundle.
func openBundle(c rest.BundleUse) (*opened, error) {
	secret, err := secretOf(c.BundleSecret)
	if err != nil {
		return nil, err
	}
	defer secret.Close()
	o := &opened{parts: map[string][]byte{}}
	o.manifest, err = bundle.Read(bytes.NewReader(c.Bundle), secret, func(_ bundle.Manifest, i bundle.Info, r io.Reader) error {
		b, err := io.ReadAll(r)
		o.parts[i.Name] = b
		return err
	})
	if err != nil {
		o.wipe()
		return nil, rest.Errorf(http.StatusBadRequest, "%v", err)
	}
	return o, nil
}

func (o *opened) wipe() {
	for _, b := range o.parts {
		clear(b)
	}
}

// config decodes the configuration and the drive table.
func (o *opened) config() (c storeConfig, records []record, err error) {
	err = errors.Join(json.Unmarshal(o.parts[storeFile], &c), json.Unmarshal(o.parts[drivesFile], &records))
	if err != nil {
		return c, nil, rest.Errorf(http.StatusBadRequest, "the recovery bundle's configuration is not understood: %v", err)
	}
	return c, records, nil
}

// header unpacks the header of a drive; nil if there is none.
func (o *opened) header(uuid string) ([]byte, error) {
	z := o.parts[partHeader+uuid]
	if z == nil {
		return nil, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(z))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, maxHeaderCopy*16))
}

// Drill proves, without writing to any drive, that the bundle opens and that
// every attached drive of ours would open from it.
func (n *Node) Drill(ctx context.Context, c rest.BundleUse) (rest.Drill, error) {
	o, err := openBundle(c)
	if err != nil {
		return rest.Drill{}, err
	}
	defer o.wipe()
	n.drives.hands.Lock()
	defer n.drives.hands.Unlock()
	d := rest.Drill{Created: o.manifest.Created, Epoch: o.manifest.Epoch, Drives: []rest.RehearsedDrive{}, Passed: true, Time: time.Now().UTC()}
	if n.keys.have() {
		_, place, _ := n.keys.current()
		if err := o.manifest.Stale(place.Epoch, place.Ref); err != nil {
			d.Passed, d.Problem = false, err.Error()
		}
	}
	for _, x := range n.drives.drives {
		if x.ours() && x.known {
			r := o.drill(x)
			d.Drives, d.Passed = append(d.Drives, r), d.Passed && (r.Opens || r.Path == "")
		}
	}
	if !d.Passed {
		return d, nil
	}
	n.rehearsals.setDrilled(d.Time)
	return d, n.state.save(drillFile, drillRecord{Version: stateVersion, Last: d.Time})
}

// RescueFromBundle takes one drive's rescue key out of a bundle: for a drive
// whose master key is gone for good, or that was away when it was replaced.
func (n *Node) RescueFromBundle(_ context.Context, c rest.BundleRescue) (rest.RescueKey, error) {
	o, err := openBundle(c.BundleUse)
	if err != nil {
		return rest.RescueKey{}, err
	}
	defer o.wipe()
	_, records, err := o.config()
	if err != nil {
		return rest.RescueKey{}, err
	}
	for _, r := range records {
		rescue := o.parts[partRescue+r.UUID]
		if rescue != nil && (c.Serial == r.UUID || c.Serial == r.Serial) {
			return rest.RescueKey{Serial: r.Serial, UUID: r.UUID, Key: bytes.Clone(rescue)}, nil
		}
	}
	return rest.RescueKey{}, rest.Errorf(http.StatusNotFound, "the bundle holds no rescue key of a drive with the serial number or UUID %q", c.Serial)
}

type drillRecord struct {
	Version int       `json:"version"`
	Last    time.Time `json:"last_drill"`
}

// drill opens one drive with its rescue key out of the bundle.
func (o *opened) drill(d *drive) rest.RehearsedDrive {
	row := d.row()
	r := rest.RehearsedDrive{Path: row.Path, Serial: row.Serial, UUID: row.UUID}
	rescue := o.parts[partRescue+d.rec.UUID]
	switch {
	case d.found == nil:
		r.Outcome = "absent: could not be tried"
	case rescue == nil:
		r.Outcome = "is not in the bundle"
	case d.dev == nil:
		r.Outcome = "could not be tried: " + d.detail
	default:
		if err := opensWithRescueKey(d, rescue); err != nil {
			r.Outcome = fmt.Sprintf("would not open: %v", err)
		} else {
			r.Opens, r.Outcome = true, "would open"
		}
	}
	return r
}

func opensWithRescueKey(d *drive, rescue []byte) error {
	v, err := blockcrypt.Open(d.dev, rescue, blockcrypt.OpenOptions{AllowForeignLUKS2: true})
	if err != nil {
		return err
	}
	return v.Close()
}

// loadDrill remembers when a drill passed last.
func (n *Node) loadDrill() error {
	var d drillRecord
	if ok, err := n.state.load(drillFile, &d); err != nil || !ok {
		return err
	}
	n.rehearsals.setDrilled(d.Last)
	return n.state.check(drillFile, d.Version, true, "", "")
}
