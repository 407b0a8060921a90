package lint

// The rules by id. The hundreds are areas: 1 how the image is made, 2 size and
// layers, 3 secrets, 4 configuration, 5 files, 6 names in registries.
const (
	BaseOutsideSite    = "CFB101"
	BaseFloating       = "CFB102"
	BaseNotPinned      = "CFB103"
	NoUpgrade          = "CFB104"
	EndOfLife          = "CFB105"
	EndOfLifeSaid      = "CFB106"
	RemoteScript       = "CFB107"
	FetchUnverified    = "CFB108"
	IndexAlone         = "CFB109"
	IndexMissing       = "CFB110"
	Interactive        = "CFB111"
	FrontendMissing    = "CFB112"
	SignaturesOff      = "CFB113"
	MadeByHand         = "CFB114"
	PackageCache       = "CFB201"
	CacheInLowerLayer  = "CFB202"
	HiddenSpace        = "CFB203"
	PackagesUndone     = "CFB204"
	EmptyLayer         = "CFB205"
	HugeLayer          = "CFB206"
	ManyLayers         = "CFB207"
	Leftovers          = "CFB208"
	PrivateKey         = "CFB301"
	CredentialFile     = "CFB302"
	SecretInEnv        = "CFB303"
	SecretInLabel      = "CFB304"
	SecretInHistory    = "CFB305"
	TokenInFile        = "CFB306"
	PasswordHash       = "CFB307"
	HostKey            = "CFB308"
	AuthorizedKeys     = "CFB309"
	NoPassword         = "CFB310"
	FrontendKept       = "CFB401"
	MissingLabel       = "CFB402"
	MissingOrigin      = "CFB403"
	MissingLicenses    = "CFB404"
	MissingHelp        = "CFB405"
	RootUser           = "CFB406"
	ShellForm          = "CFB407"
	NoInit             = "CFB408"
	SeveralServices    = "CFB409"
	SSHPort            = "CFB410"
	SystemVolume       = "CFB411"
	EnvInFile          = "CFB412"
	BadPath            = "CFB413"
	UnknownUser        = "CFB414"
	BoundDirectory     = "CFB501"
	NeedlessTool       = "CFB502"
	SetuidUnexpected   = "CFB503"
	CapabilityFile     = "CFB504"
	WorldWritable      = "CFB505"
	UserOwned          = "CFB506"
	UnknownOwner       = "CFB507"
	BrokenLink         = "CFB508"
	CopyrightMissing   = "CFB509"
	DeviceNode         = "CFB510"
	MachineID          = "CFB511"
	LatestAlone        = "CFB601"
	TagNotVersion      = "CFB602"
	ReferenceElsewhere = "CFB603"
)

// Rules lists every rule, by id.
func Rules() []Rule {
	const (
		def  = InDefinition
		img  = InImage
		both = InDefinition | InImage
	)
	return []Rule{
		{BaseOutsideSite, "base-outside-site", Warning, def, "NCCS 2.1", "A base image comes from the site's registry, or through its pull-through cache.", "start from the site's golden image, or name the registry in the site file"},
		{BaseFloating, "base-floating", Warning, def, "NCCS 2.13; Docker: pin base image versions", "A base image is named by a tag other than latest, or by its digest.", "name a version: registry/name:version"},
		{BaseNotPinned, "base-not-pinned", Info, def, "Docker: pin base image versions", "A base image is named by its digest, so that the same definition gives the same image.", "add @sha256:… to the reference, and renew it on purpose"},
		{NoUpgrade, "no-upgrade", Warning, def, "NCCS 2.5", "The first package step on a pulled base upgrades the system.", "run dnf -y update, yum -y update, apt-get update and apt-get -y dist-upgrade, apk upgrade or zypper -n update first"},
		{EndOfLife, "end-of-life", Warning, both, "NCCS 2.1", "The release still gets security updates.", "move to a supported release, or declare EndOfLife in the target"},
		{EndOfLifeSaid, "end-of-life-declared", Info, both, "NCCS 2.1", "A release past its end is declared as such by the target, and builds warn.", "move to a supported release"},
		{RemoteScript, "remote-script", Error, def, "Docker: RUN and pipes", "No step pipes a download into an interpreter.", "download to a file, compare its SHA-256, then run it"},
		{FetchUnverified, "fetch-unverified", Warning, def, "Docker: ADD with checksum", "What a step downloads is compared with a checksum or signature in the same step.", "add sha256sum -c or gpg --verify after the download, or copy the file in"},
		{IndexAlone, "index-alone", Warning, def, "NCCS 2.10; Docker: apt-get", "apt-get update stands in the step that installs.", "join the steps: apt-get update && apt-get -y install …"},
		{IndexMissing, "index-missing", Warning, def, "NCCS 2.10; Docker: apt-get", "apt-get install follows an apt-get update of the same step.", "join the steps: apt-get update && apt-get -y install …"},
		{Interactive, "interactive", Warning, def, "NCCS 2.5; Docker: apt-get", "Package managers are told not to ask.", "add -y (zypper: -n) to the command"},
		{FrontendMissing, "frontend-missing", Warning, def, "NCCS 2.18", "apt-get runs with DEBIAN_FRONTEND=noninteractive, set for the step.", "set it in the step: Env: map[string]string{\"DEBIAN_FRONTEND\": \"noninteractive\"}"},
		{SignaturesOff, "signatures-off", Error, both, "NCCS 2.1; 3.3", "Signatures of packages and indexes are checked.", "add the repository's key instead of switching the check off"},
		{MadeByHand, "made-by-hand", Info, img, "NCCS 2.2", "Each layer says which line of a definition made it.", "build from a definition; do not commit a container that was changed by hand"},
		{PackageCache, "package-cache", Warning, both, "NCCS 2.6", "Caches of package managers are cleaned in the step that filled them.", "end the step with apt-get clean and rm -rf /var/lib/apt/lists/*, dnf clean all, yum clean all, zypper clean -a, apk add --no-cache, pip --no-cache-dir, conda clean -afy, npm cache clean --force; or mount a cache"},
		{CacheInLowerLayer, "cache-in-lower-layer", Warning, img, "NCCS 2.7", "What a later layer deletes from a cache is in no layer below.", "clean up in the step that filled the cache"},
		{HiddenSpace, "hidden-space", Warning, img, "NCCS 2.7", "Layers do not carry what later layers delete or replace (from 5 MB).", "do the work in one step, or copy the result from another image"},
		{PackagesUndone, "packages-undone", Warning, both, "NCCS 2.7", "No step or layer removes packages that an earlier one installed (in images dpkg, apk and rpm; in definitions all).", "install and remove in one step, or build in another image and copy"},
		{EmptyLayer, "empty-layer", Info, img, "NCCS 2.6; OCI image-spec layer", "Layers hold something.", "drop the step that changes nothing"},
		{HugeLayer, "huge-layer", Info, img, "NCCS 2.6, 2.9", "No layer is larger than 1 GiB unpacked: large layers are shared and pulled badly.", "split by how often the parts change"},
		{ManyLayers, "many-layers", Warning, img, "NCCS 2.7, 2.9", "An image has at most 100 layers (overlay file systems take 127 or 500).", "join steps"},
		{Leftovers, "leftovers", Info, img, "NCCS 2.6, 2.7", "No archives, core dumps, version control directories or logs are left.", "remove them in the step that made them"},
		{PrivateKey, "private-key", Error, img, "NCCS 2.12", "No layer holds a private key.", "make the key invalid; hand it to steps as a secret (Run.Secrets, --secret)"},
		{CredentialFile, "credential-file", Error, both, "NCCS 2.12", "No layer holds a file of credentials (.netrc, .npmrc, .docker/config.json, .git-credentials, cloud logins).", "make the credentials invalid; hand them to steps as a secret"},
		{SecretInEnv, "secret-in-env", Error, both, "NCCS 2.12; Docker: ENV", "No variable holds a password, token or key.", "take the variable out and make its value invalid; hand it to steps as a secret"},
		{SecretInLabel, "secret-in-label", Error, both, "NCCS 2.12", "No label or annotation holds a password, token or key.", "take it out and make it invalid"},
		{SecretInHistory, "secret-in-history", Error, both, "NCCS 2.12", "No command that the history keeps holds a password, token or key.", "make it invalid; hand it to the step as a secret"},
		{TokenInFile, "token-in-file", Error, both, "NCCS 2.12", "No file holds a token or a URL with a password.", "make it invalid; hand it to steps as a secret"},
		{PasswordHash, "password-hash", Error, img, "NCCS 2.12", "/etc/shadow and /etc/passwd hold no password.", "lock the account: passwd -l NAME"},
		{HostKey, "ssh-host-key", Error, img, "NCCS 2.12", "No layer holds the host key of an SSH server: every container would have the same one.", "remove /etc/ssh/ssh_host_* in the step that installed the server"},
		{AuthorizedKeys, "authorized-keys", Warning, img, "NCCS 2.8, 2.12", "No account has authorized SSH keys.", "remove the file; enter containers with exec"},
		{NoPassword, "no-password", Error, img, "NCCS 2.12", "No account can be entered without a password.", "lock the account: passwd -l NAME"},
		{FrontendKept, "frontend-kept", Warning, both, "NCCS 2.18; Docker: DEBIAN_FRONTEND", "DEBIAN_FRONTEND is set while building only: in the image it changes what users see.", "set it in the Env of the steps that need it"},
		{MissingLabel, "missing-label", Warning, both, "NCCS 2.16; OCI image-spec annotations", "Labels give title, description and version.", "set org.opencontainers.image.title, .description and .version"},
		{MissingOrigin, "missing-origin", Info, both, "NCCS 2.2; OCI image-spec annotations", "Labels say which source and revision the image was made from.", "set org.opencontainers.image.source and .revision"},
		{MissingLicenses, "missing-licenses", Info, both, "NCCS 2.17; OCI image-spec annotations", "A label names the licences, as an SPDX expression.", "set org.opencontainers.image.licenses"},
		{MissingHelp, "missing-help", Info, both, "NCCS 2.16", "The image says how to use it: a label documentation, url, usage or help, or /.singularity.d/runscript.help.", "set org.opencontainers.image.documentation"},
		{RootUser, "root-user", Info, both, "NCCS 3.3; Docker: USER", "An application does not run as root. Base images do, for those who build on them.", "set User to an account of the image"},
		{ShellForm, "shell-form", Warning, both, "NCCS 2.11; Docker: ENTRYPOINT", "Entrypoint and command are a program, or a shell that ends in exec, so that signals reach it.", "write the command as a list, or begin its last line with exec"},
		{NoInit, "no-init", Info, both, "NCCS 2.11", "A service handles signals and reaps processes as PID 1, or an init does it.", "put tini or dumb-init in front, or set StopSignal where the program handles it"},
		{SeveralServices, "several-services", Info, both, "NCCS 2.3", "A container holds one application, not a supervisor of several.", "make an image for each"},
		{SSHPort, "ssh-port", Warning, both, "NCCS 2.8", "No SSH server is offered.", "drop the port; enter containers with exec"},
		{SystemVolume, "system-volume", Warning, both, "NCCS 3.1, 3.2", "Volumes are directories of data, not of the system.", "put data below /srv, /data or /var/lib/NAME"},
		{EnvInFile, "env-in-file", Info, both, "NCCS 2.15", "Variables are set in the image's configuration, where every runtime finds them, not in shell start-up files.", "use Configure{Env: …}"},
		{BadPath, "bad-path", Warning, both, "NCCS 3.3", "PATH has absolute directories that not everyone can write to.", "list absolute directories only, none of them below /tmp or a home"},
		{UnknownUser, "unknown-user", Warning, img, "OCI image-spec config", "The configured user is an account of the image, or a number.", "make the account, or give its number"},
		{BoundDirectory, "bound-directory", Warning, both, "NCCS 2.4", "Nothing lies in directories that clusters bind over: /home, /tmp, /var/tmp, /scratch, /att, /nobackup, /lscratch, /gpfs, /lustre.", "put it below /opt or /usr/local"},
		{NeedlessTool, "needless-tool", Warning, both, "NCCS 2.8", "No sudo, SSH server, netcat, telnet, tracer, debugger or sniffer is left.", "remove it, or do not install it"},
		{SetuidUnexpected, "setuid", Warning, img, "NCCS 3.3", "No program is setuid or setgid besides those every distribution ships (su, mount, passwd, …).", "chmod u-s,g-s, or accept it with a reason"},
		{CapabilityFile, "file-capability", Warning, img, "NCCS 3.3", "No program has file capabilities besides those distributions ship (ping, newuidmap, newgidmap, …).", "setcap -r, or accept it with a reason"},
		{WorldWritable, "world-writable", Error, both, "NCCS 2.14, 3.3", "Nothing can be written by everyone, besides sticky directories.", "chmod o-w, or 1777 for a directory of temporary files"},
		{UserOwned, "user-owned", Warning, both, "NCCS 2.14", "Files of the system belong to system accounts (below 500; from 500 to 999 where the image's passwd has them).", "chown them to root or a system account"},
		{UnknownOwner, "unknown-owner", Warning, img, "NCCS 2.14", "Every file's owner and group are in the image's passwd and group.", "chown it, or make the account"},
		{BrokenLink, "broken-link", Warning, img, "NCCS 2.7", "Links in directories of PATH lead somewhere.", "remove the link"},
		{CopyrightMissing, "copyright-missing", Info, img, "NCCS 2.17", "Packages keep their licences: /usr/share/doc/PACKAGE/copyright, /usr/share/licenses.", "do not remove them: most licences ask for their text to be passed on"},
		{DeviceNode, "device-node", Warning, img, "NCCS 3.3", "The image holds no device nodes: runtimes make them, rootless ones cannot unpack them.", "remove it"},
		{MachineID, "machine-id", Warning, img, "machine-id(5)", "/etc/machine-id is empty or missing: containers are not the same machine.", "truncate it: : > /etc/machine-id"},
		{LatestAlone, "latest-alone", Warning, InReference, "NCCS 2.13", "An image is used by a tag other than latest, or by its digest.", "push and use a version or commit tag beside latest"},
		{TagNotVersion, "tag-not-version", Warning, InReference, "NCCS 2.13", "A tag is a version (X.Y.Z, also shortened), a date or a git commit.", "tag by semantic version or commit: cfbuild run --tag …"},
		{ReferenceElsewhere, "reference-outside-site", Info, InReference, "NCCS 2.1", "An image that is used comes from the site's registry.", "mirror it into the site's registry"},
	}
}
