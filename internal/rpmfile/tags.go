package rpmfile

// Tags of the signature header (rpm, include/rpm/rpmtag.h).
const (
	SigDSA         = 267  // OpenPGP signature of the header, by a DSA or EdDSA key
	SigRSA         = 268  // the same, by an RSA key
	SigSHA1        = 269  // of the header, hex
	SigSHA256      = 273  // of the header, hex
	SigSize        = 1000 // of header and payload, bytes
	SigPGP         = 1002 // OpenPGP signature of header and payload (rpm 3)
	SigMD5         = 1004 // of header and payload
	SigGPG         = 1005 // like SigPGP
	SigPayloadSize = 1007
)

// Tags of the header.
const (
	Name              = 1000
	Version           = 1001
	Release           = 1002
	Epoch             = 1003
	Summary           = 1004
	Description       = 1005
	BuildTime         = 1006
	BuildHost         = 1007
	Size              = 1009
	License           = 1014
	Group             = 1016
	OS                = 1021
	Arch              = 1022
	PreIn             = 1023
	PostIn            = 1024
	PreUn             = 1025
	PostUn            = 1026
	FileSizes         = 1028
	FileModes         = 1030
	FileRdevs         = 1033
	FileMTimes        = 1034
	FileDigests       = 1035
	FileLinkTos       = 1036
	FileFlags         = 1037
	FileUserName      = 1039
	FileGroupName     = 1040
	SourceRPM         = 1044
	FileVerifyFlags   = 1045
	ProvideName       = 1047
	RequireFlags      = 1048
	RequireName       = 1049
	RequireVersion    = 1050
	ConflictFlags     = 1053
	ConflictName      = 1054
	ConflictVersion   = 1055
	RPMVersion        = 1064
	PreInProg         = 1085
	PostInProg        = 1086
	ObsoleteName      = 1090
	FileDevices       = 1095
	FileInodes        = 1096
	FileLangs         = 1097
	ProvideFlags      = 1112
	ProvideVersion    = 1113
	ObsoleteFlags     = 1114
	ObsoleteVersion   = 1115
	DirIndexes        = 1116
	BaseNames         = 1117
	DirNames          = 1118
	PayloadFormat     = 1124
	PayloadCompressor = 1125
	PayloadFlags      = 1126
	PreTrans          = 1151
	PostTrans         = 1152
	PostTransProg     = 1154
	LongFileSizes     = 5008
	LongSize          = 5009
	FileCaps          = 5010
	FileDigestAlgo    = 5011
	PayloadDigest     = 5092
	PayloadDigestAlgo = 5093
)

// Flags of files (rpm, include/rpm/rpmfiles.h).
const (
	FlagConfig    = 1 << 0
	FlagDoc       = 1 << 1
	FlagMissingOK = 1 << 3
	FlagNoReplace = 1 << 4
	FlagGhost     = 1 << 6
	FlagLicense   = 1 << 7
)

// Flags of dependencies (rpm, include/rpm/rpmds.h).
const (
	SenseLess    = 1 << 1
	SenseGreater = 1 << 2
	SenseEqual   = 1 << 3
	SensePreReq  = 1 << 6
	SensePost    = 1 << 10
	SensePre     = 1 << 9
	SenseRPMLib  = 1 << 24
)
