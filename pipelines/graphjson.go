package pipelines

import (
	"encoding/json"
	"fmt"
)

type nodeAlias Node

type nodeJSON struct {
	nodeAlias
	Kind string          `json:"kind"`
	Op   json.RawMessage `json:"op"`
}

// MarshalJSON writes the operation under "op" with its name under "kind".
func (n Node) MarshalJSON() ([]byte, error) {
	op, err := json.Marshal(n.Op)
	if err != nil {
		return nil, err
	}
	return json.Marshal(nodeJSON{nodeAlias(n), n.Op.kind(), op})
}

// UnmarshalJSON reads what MarshalJSON wrote and checks that the ID is the one
// the content gives.
func (n *Node) UnmarshalJSON(b []byte) error {
	var j nodeJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	op, err := decodeOp(j.Kind, j.Op)
	if err != nil {
		return err
	}
	*n = Node(j.nodeAlias)
	n.Op = op
	if id := n.identity(); id != n.ID {
		return fmt.Errorf("graph node %s: its content hashes to %s", n.ID, id)
	}
	return nil
}

func decodeOp(kind string, raw json.RawMessage) (Op, error) {
	switch kind {
	case "scratch":
		return Scratch{}, nil
	case "pull":
		return into[Pull](raw)
	case "layout":
		return into[Layout](raw)
	case "local":
		return into[Local](raw)
	case "bootstrap":
		return into[Bootstrap](raw)
	case "run":
		return into[Run](raw)
	case "copy":
		return into[Copy](raw)
	case "file":
		return into[File](raw)
	case "remove":
		return into[Remove](raw)
	case "configure":
		return into[Configure](raw)
	}
	return nil, fmt.Errorf("graph node: unknown operation %q", kind)
}

func into[T Op](raw json.RawMessage) (Op, error) {
	var v T
	err := json.Unmarshal(raw, &v)
	return v, err
}
