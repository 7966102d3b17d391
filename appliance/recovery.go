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
	"os"
	"time"

	"sealbay/appliance/rest"
	"sealbay/blockcrypt"
	"sealbay/keyring"
	"sealbay/keyring/bundle"
	"sealbay/keyring/local"
)

// The parts of a recovery bundle: the state folder's configuration under its
// own names, certificates and client key of a KMS, the master key if the store
// is local, and for each drive its whole header (gzip) and its rescue key.
const (
	partMaster = "master-key" // raw bytes
	partKMS    = "kms/"       // + field
	partHeader = "header/"    // + UUID
	partRescue = "rescue/"    // + UUID
)

const drillFile = "drill.json"

// secretOf takes the secret out of a request.
func secretOf(s rest.BundleSecret) (*bundle.Secret, error) {
	var secret *bundle.Secret
	var err error
	switch {
	case (s.Passphrase == "") == (len(s.KeyFile) == 0):
		return nil, rest.Errorf(http.StatusBadRequest, "give either a passphrase or a key file")
	case s.Passphrase != "":
		secret, err = bundle.Passphrase([]byte(s.Passphrase), bundle.Cost{})
	default:
		secret, err = bundle.KeyFile(s.KeyFile)
	}
	if err != nil {
		return nil, rest.Errorf(http.StatusBadRequest, "%v", err)
	}
	return secret, nil
}

// Backup seals everything that brings this node back into one bundle.
func (n *Node) Backup(ctx context.Context, c rest.BundleSecret) (rest.Bundle, error) {
	secret, err := secretOf(c)
	if err != nil {
		return rest.Bundle{}, err
	}
	defer secret.Close()
	n.drives.hands.Lock()
	defer n.drives.hands.Unlock()
	key, err := n.keys.fetch(ctx)
	if err != nil {
		return rest.Bundle{}, sealed(err)
	}
	if err := n.recover(ctx); err != nil {
		return rest.Bundle{}, storeError(err)
	}
	_, place, _ := n.keys.current()
	var p parts
	defer p.wipe()
	missing, err := p.collect(n, key)
	if err != nil {
		return rest.Bundle{}, err
	}
	var out bytes.Buffer
	host, err := os.Hostname()
	if err == nil {
		err = bundle.Write(&out, secret, bundle.Manifest{Node: host, Epoch: place.Epoch, Key: place.Ref}, p.list)
	}
	return rest.Bundle{Bundle: out.Bytes(), Missing: missing}, err
}

// parts gathers the parts of a bundle and wipes them.
type parts struct {
	list []bundle.Part
	raw  [][]byte
}

func (p *parts) add(name string, b []byte) {
	p.raw = append(p.raw, b)
	p.list = append(p.list, bundle.Part{Name: name, Size: int64(len(b)), Body: bytes.NewReader(b)})
}

func (p *parts) wipe() {
	for _, b := range p.raw {
		clear(b)
	}
}

// collect gathers everything and names the drives that are left out.
func (p *parts) collect(n *Node, key *keyring.MasterKey) (missing []string, err error) {
	config, err := n.keys.configured()
	if err != nil {
		return nil, err
	}
	if err := p.addConfig(n, config, key); err != nil {
		return nil, err
	}
	for _, d := range n.drives.drives {
		if !d.ours() || !d.known {
			continue
		}
		if d.vol == nil {
			missing = append(missing, fmt.Sprintf("%s is %s", d.name(), d.state))
			continue
		}
		if err := p.addDrive(d, key); err != nil {
			return nil, err
		}
	}
	return missing, nil
}

func (p *parts) addConfig(n *Node, c storeConfig, key *keyring.MasterKey) error {
	records, err := n.state.loadDrives()
	if err != nil {
		return err
	}
	store, err := json.Marshal(c)
	if err != nil {
		return err
	}
	drives, err := json.Marshal(records)
	if err != nil {
		return err
	}
	p.add(storeFile, store)
	p.add(drivesFile, drives)
	if c.KMS == nil {
		return key.Use(func(b []byte) error { p.add(partMaster, bytes.Clone(b)); return nil })
	}
	certs, err := n.keys.files.load(c.KMS.Certs)
	if err != nil {
		return err
	}
	for _, field := range pemFields {
		p.add(partKMS+field, pemOf(&certs, field).Data)
	}
	return nil
}

// addDrive adds the header with the keyslots' material, and the key to it.
func (p *parts) addDrive(d *drive, key *keyring.MasterKey) error {
	header, err := blockcrypt.BackupHeader(d.dev, blockcrypt.BackupOptions{Keyslots: true})
	if err != nil {
		return err
	}
	var z bytes.Buffer // mostly zeros: a thirtieth is left
	w := gzip.NewWriter(&z)
	if _, err := w.Write(header); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	p.add(partHeader+d.rec.UUID, z.Bytes())
	return key.Use(func(kek []byte) error {
		rescue, err := blockcrypt.RescueKey(d.dev, kek)
		if err == nil {
			p.add(partRescue+d.rec.UUID, rescue)
		}
		return err
	})
}

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

// Restore brings a node back onto a blank boot drive: its key store, its drive
// table, and the headers of drives that lost theirs. A node that has a key
// store is left alone.
func (n *Node) Restore(_ context.Context, c rest.BundleUse) (rest.Restored, error) {
	o, err := openBundle(c)
	if err != nil {
		return rest.Restored{}, err
	}
	defer o.wipe()
	n.drives.hands.Lock()
	defer n.drives.hands.Unlock()
	if _, err := n.keys.configured(); err == nil {
		return rest.Restored{}, rest.Errorf(http.StatusConflict, "this node has a key store; a bundle is restored onto an empty state folder only, so that no key is lost")
	}
	config, records, err := o.config()
	if err != nil {
		return rest.Restored{}, err
	}
	r := rest.Restored{Created: o.manifest.Created, Drives: []string{}, StoreType: string(config.Type)}
	if r.Mended, err = n.mendHeaders(o, records); err != nil {
		return r, err
	}
	n.drives.remember(records)
	for _, rec := range records {
		r.Drives = append(r.Drives, rec.UUID)
	}
	defer n.look()
	return r, errors.Join(n.state.saveDrives(records), storeError(n.keys.restore(o, config)))
}

// mendHeaders writes back the headers of attached drives that have none any
// more, by serial number and size. blockcrypt refuses where a newer one stands.
func (n *Node) mendHeaders(o *opened, records []record) (mended []string, err error) {
	for _, d := range n.drives.drives {
		if d.found == nil || d.state != rest.DriveFailed {
			continue
		}
		for _, rec := range records {
			if rec.Serial == "" || rec.Serial != d.found.Serial || rec.Size != d.found.Size {
				continue
			}
			header, err := o.header(rec.UUID)
			if err != nil || header == nil {
				return mended, err
			}
			if err := d.attach(); err != nil {
				return mended, err
			}
			if err := blockcrypt.RestoreHeader(d.dev, header, blockcrypt.RestoreOptions{}); err != nil {
				return mended, err
			}
			mended = append(mended, rec.UUID)
			d.rec = rec
			d.set(rest.DriveLocked, "")
		}
	}
	return mended, nil
}

// remember makes the drives of records known.
func (t *table) remember(records []record) {
	for _, rec := range records {
		d := t.byUUID(rec.UUID)
		if d == nil {
			d = &drive{rec: rec, state: rest.DriveAbsent}
			t.drives = append(t.drives, d)
		}
		d.known = true
	}
	t.publish()
}

// restore makes the key store of a bundle the node's.
func (k *keys) restore(o *opened, c storeConfig) error {
	place := keyring.Place{Ref: o.manifest.Key, Epoch: c.Epoch}
	if c.KMS == nil {
		raw := bytes.Clone(o.parts[partMaster])
		key, err := keyring.NewMasterKey(raw)
		if err != nil {
			return err
		}
		if err := errors.Join(local.New(k.state.folder).Import(key), key.Close()); err != nil {
			return err
		}
		return k.commit(context.Background(), place)
	}
	set, err := k.saveParts(o)
	if err != nil {
		return err
	}
	kms := *c.KMS
	kms.Certs = set
	if place.Config, err = placeConfig(&kms); err != nil {
		return err
	}
	return k.commit(context.Background(), place)
}

func (k *keys) saveParts(o *opened) (set int, err error) {
	var c rest.KMSCerts
	for name, to := range map[string]*string{"server_ca_cert": &c.ServerCACert, "client_cert": &c.ClientCert, "client_private_key": &c.ClientPrivateKey} {
		*to = string(o.parts[partKMS+name])
	}
	return k.files.save(certsOf(c))
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
