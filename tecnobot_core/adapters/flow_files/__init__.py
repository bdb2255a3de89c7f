"""Flows as files that people write: YAML and JSON, one flow a file or several."""

from .document import FileFlow as FileFlow
from .document import FlowFile as FlowFile
from .document import parse_flow_file as parse_flow_file
from .files import is_flow_file as is_flow_file
from .folder import FolderFlowStore as FolderFlowStore
from .writing import FileFormat as FileFormat
from .writing import write_flow as write_flow
from .writing import write_flows as write_flows
