// public/io/netif.h: the network device protocol. Transmit and receive are the guest's.
// Transcribed from Xen's public headers, which are MIT-licensed (SPDX-License-Identifier: MIT).

/** Slots a packet may take that every backend accepts, and the payload's. */
export const XEN_NETIF_NR_SLOTS_MIN = 18;
export const XEN_NETIF_MAX_TX_SIZE = 0xffff;

/** struct netif_tx_request, 12 bytes, [GST]. */
export const netif_tx_request = { bytes: 12, gref: 0, offset: 4, flags: 6, id: 8, size: 10 } as const;
/** struct netif_tx_response, 4 bytes in a slot of 12, [BACK]. */
export const netif_tx_response = { bytes: 4, id: 0, status: 2 } as const;
/** struct netif_rx_request, 8 bytes, [GST]. */
export const netif_rx_request = { bytes: 8, id: 0, gref: 4 } as const;
/** struct netif_rx_response, 8 bytes, [BACK]. */
export const netif_rx_response = { bytes: 8, id: 0, offset: 2, flags: 4, status: 6 } as const;
/** struct netif_extra_info, 8 bytes, in place of a request or response. */
export const netif_extra_info = {
  bytes: 8, type: 0, flags: 1, gso_size: 2, gso_type: 4, gso_features: 6, mcast_addr: 2, hash_type: 2, hash_algorithm: 3, hash_value: 4,
} as const;

export const NETTXF_csum_blank = 1;
export const NETTXF_data_validated = 2;
export const NETTXF_more_data = 4;
export const NETTXF_extra_info = 8;
export const NETRXF_data_validated = 1;
export const NETRXF_csum_blank = 2;
export const NETRXF_more_data = 4;
export const NETRXF_extra_info = 8;
export const NETRXF_gso_prefix = 16;

export const XEN_NETIF_EXTRA_TYPE_NONE = 0;
export const XEN_NETIF_EXTRA_TYPE_GSO = 1;
export const XEN_NETIF_EXTRA_TYPE_MCAST_ADD = 2;
export const XEN_NETIF_EXTRA_TYPE_MCAST_DEL = 3;
export const XEN_NETIF_EXTRA_TYPE_HASH = 4;
export const XEN_NETIF_EXTRA_TYPE_MAX = 5;
export const XEN_NETIF_EXTRA_FLAG_MORE = 1;

export const XEN_NETIF_GSO_TYPE_NONE = 0;
export const XEN_NETIF_GSO_TYPE_TCPV4 = 1;
export const XEN_NETIF_GSO_TYPE_TCPV6 = 2;

export const NETIF_RSP_DROPPED = -2;
export const NETIF_RSP_ERROR = -1;
export const NETIF_RSP_OKAY = 0;
/** No response: in the slots of extra info. */
export const NETIF_RSP_NULL = 1;
export type NetifStatus = -2 | -1 | 0 | 1;

/** struct xen_netif_ctrl_request, 16 bytes, [GST]; data is three uint32. */
export const xen_netif_ctrl_request = { bytes: 16, id: 0, type: 2, data: 4 } as const;
/** struct xen_netif_ctrl_response, 12 bytes in a slot of 16, [BACK]. */
export const xen_netif_ctrl_response = { bytes: 12, id: 0, type: 2, status: 4, data: 8 } as const;

export const XEN_NETIF_CTRL_TYPE_INVALID = 0;
export const XEN_NETIF_CTRL_TYPE_GET_HASH_FLAGS = 1;
export const XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS = 2;
export const XEN_NETIF_CTRL_TYPE_SET_HASH_KEY = 3;
export const XEN_NETIF_CTRL_TYPE_GET_HASH_MAPPING_SIZE = 4;
export const XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE = 5;
export const XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING = 6;
export const XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM = 7;

export const XEN_NETIF_CTRL_STATUS_SUCCESS = 0;
export const XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED = 1;
export const XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER = 2;
export const XEN_NETIF_CTRL_STATUS_BUFFER_OVERFLOW = 3;

export const XEN_NETIF_CTRL_HASH_TYPE_IPV4 = 1;
export const XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP = 2;
export const XEN_NETIF_CTRL_HASH_TYPE_IPV6 = 4;
export const XEN_NETIF_CTRL_HASH_TYPE_IPV6_TCP = 8;
export const XEN_NETIF_CTRL_HASH_ALGORITHM_NONE = 0;
export const XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ = 1;
