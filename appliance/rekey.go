package appliance

import (
	"context"

	"sealbay/appliance/rest"
)

// SetKeyStore is not there yet.
func (n *Node) SetKeyStore(context.Context, rest.SetKeyStore) error { return notYet() }

// RotateKeys is not there yet.
func (n *Node) RotateKeys(context.Context, rest.RotateKeys) error { return notYet() }

// CreateKey is not there yet.
func (n *Node) CreateKey(context.Context, rest.CreateKey) (rest.CreatedKey, error) {
	return rest.CreatedKey{}, notYet()
}

// ReplaceKMSCerts is not there yet.
func (n *Node) ReplaceKMSCerts(context.Context, rest.KMSCerts) error { return notYet() }

// Rehearse is not there yet.
func (n *Node) Rehearse(context.Context) (rest.Rehearsal, error) { return rest.Rehearsal{}, notYet() }

func notYet() error { return rest.Errorf(501, "this version of the node cannot do that yet") }
