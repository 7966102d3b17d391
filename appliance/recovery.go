package appliance

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	"sealbay/appliance/rest"
	"sealbay/blockcrypt"
	"sealbay/keyring"
	"sealbay/keyring/bundle"
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
