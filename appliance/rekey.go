package appliance

import (
	"context"

	"sealbay/appliance/rest"
)

// SetKeyStore is not there yet.
func (n *Node) SetKeyStore(context.Context, rest.SetKeyStore) error { return notYet() }

// RotateKeys is not there yet.
func (n *Node) RotateKeys(context.Context, rest.RotateKeys) error { return notYet() }

func notYet() error { return rest.Errorf(501, "this version of the node cannot do that yet") }
