package appliance

import (
	"fmt"
	"time"

	"sealbay/appliance/rest"
	"sealbay/keyring"
)

// health returns what the store knew last; it never waits.
func (k *keys) health() (keyring.Health, *storeConfig) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	switch {
	case k.broken != nil:
		return keyring.Health{Status: keyring.Corrupted, Detail: k.broken.Error()}, nil
	case k.config == nil:
		return keyring.Health{Status: keyring.NotEncrypted}, nil
	}
	return k.store.Health(), k.config
}

// Status answers encryption_get_status.
func (n *Node) Status() rest.Status {
	h, c := n.keys.health()
	s := rest.Status{Status: string(h.Status)}
	if c == nil {
		return s
	}
	s.Type, s.LastKeyRotationTime = string(c.Type), n.keys.lastRotation(c)
	if c.Type == keyring.KMS {
		s.CACertExpiry, s.ClientCertExpiry, s.LastStatusUpdateTime = h.CACertExpiry.UTC(), h.ClientCertExpiry.UTC(), h.Time.UTC()
	}
	return s
}

// lastRotation is when the journal says that the last rotation was complete,
// or when the first key was made.
func (k *keys) lastRotation(c *storeConfig) time.Time {
	if k.journal != nil && k.journal.Last().After(c.LastKeyRotation) {
		return k.journal.Last()
	}
	return c.LastKeyRotation
}

// KeyStore answers encryption_get_key_store.
func (n *Node) KeyStore() rest.KeyStore {
	h, c := n.keys.health()
	if c == nil || c.KMS == nil {
		return rest.KeyStore{Type: rest.TypeLocal, Local: &rest.LocalStore{Status: string(h.Status)}}
	}
	return rest.KeyStore{Type: rest.TypeKMS, KMS: &rest.KMSStore{
		ConfigCreationTime: c.KMS.Created, Hostname: c.KMS.Hostname, KeyID: c.KMS.KeyID, Port: c.KMS.Port,
	}}
}

// State answers node_state_get.
func (n *Node) State() rest.NodeState {
	s := rest.NodeState{}
	s.Rehearsal, s.LastDrill = n.rehearsals.get()
	for _, d := range n.drives.now().drives {
		countDrive(&s, d)
	}
	s.State, s.Since = n.phase.update(n.keys.have(), s.DrivesOpen == s.DrivesKnown && s.DrivesLocked == 0)
	for _, r := range n.keys.retained() {
		for _, d := range r.Drives {
			s.OldKeyRetainedFor = append(s.OldKeyRetainedFor, d.String())
		}
	}
	if n.keys.interrupted() {
		s.Alerts = append(s.Alerts, "a rotation of the master key was interrupted and waits to be recovered")
	}
	if _, err := n.keys.rotations(); err != nil {
		s.Alerts = append(s.Alerts, "no rotation is possible, and no former key is known: "+err.Error())
	}
	h, _ := n.keys.health()
	if h.Status != keyring.Encrypted && h.Status != keyring.Available {
		s.MissingOnRestart = s.DrivesKnown
	} else if s.Rehearsal != nil {
		s.MissingOnRestart = notOpening(s.Rehearsal)
	}
	s.Alerts = append(storeAlerts(h, s.MissingOnRestart, time.Now()), s.Alerts...)
	return s
}

// countDrive adds a drive to the sums and says what is wrong with it.
func countDrive(s *rest.NodeState, d rest.Drive) {
	if d.UUID != "" {
		s.DrivesKnown++
	}
	switch d.State {
	case rest.DriveOpen:
		s.DrivesOpen++
		return
	case rest.DriveLocked, rest.DriveFailed:
		s.DrivesLocked++
	case rest.DriveBlank, rest.DriveForeign:
		return
	}
	s.Alerts = append(s.Alerts, fmt.Sprintf("drive %s is %s%s", driveName(d), d.State, because(d.Detail)))
}

func notOpening(r *rest.Rehearsal) (n int) {
	for _, d := range r.Drives {
		if !d.Opens {
			n++
		}
	}
	return n
}

// warnDays are the days before a certificate's end at which the alert changes.
var warnDays = []int{1, 7, 30}

// storeAlerts says what is wrong, or soon will be, with the key store.
func storeAlerts(h keyring.Health, locked int, now time.Time) (alerts []string) {
	if h.Detail != "" {
		alerts = append(alerts, h.Detail)
	}
	if locked > 0 {
		alerts = append(alerts, fmt.Sprintf("a restart now would leave %d drives locked", locked))
	}
	for _, c := range []struct {
		name   string
		expiry time.Time
	}{{"client certificate", h.ClientCertExpiry}, {"CA certificate", h.CACertExpiry}, {"KMS server's certificate", h.ServerCertExpiry}} {
		if a := expiryAlert(c.name, c.expiry, now); a != "" {
			alerts = append(alerts, a)
		}
	}
	return alerts
}

func expiryAlert(name string, expiry, now time.Time) string {
	if expiry.IsZero() {
		return ""
	}
	on := expiry.UTC().Format(time.RFC3339)
	if !expiry.After(now) {
		return fmt.Sprintf("the %s expired on %s; replace it with kms_replace_certs", name, on)
	}
	for _, days := range warnDays {
		if expiry.Sub(now) < time.Duration(days)*24*time.Hour {
			return fmt.Sprintf("the %s expires in less than %d days, on %s; replace it with kms_replace_certs", name, days, on)
		}
	}
	return ""
}
