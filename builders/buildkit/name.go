package buildkit

// Name is what users type.
const Name = "buildkit"

const describe = "in a BuildKit daemon: buildkit:ADDRESS, or the one of BUILDKIT_HOST"
