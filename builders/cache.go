package builders

// CacheRef is a place outside this machine's state directory where results of
// steps are kept, so that a job on an empty machine finds what another one did.
type CacheRef struct {
	// Type is "registry", "local", or "inline" (within the image that is pushed;
	// export only).
	Type string `json:"type"`
	// Ref is the repository and tag of a registry cache.
	Ref string `json:"ref,omitempty"`
	// Dir is the directory of a local cache.
	Dir string `json:"dir,omitempty"`
	// Mode is "max" (every step, default) or "min" (what the image consists of).
	Mode string `json:"mode,omitempty"`
}
