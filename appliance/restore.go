package appliance

import (
	"bytes"
	"context"
	"errors"
	"net/http"

	"sealbay/appliance/rest"
	"sealbay/blockcrypt"
	"sealbay/keyring"
	"sealbay/keyring/local"
)

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
