"""
The graph: one bind a line, in the order data flows. Importing it does nothing else.

``serve deploy configs/serve_config.yaml`` names it as ``graph:app``.
"""

from ray.serve import Application

from deployments.config import GraphConfig
from deployments.gateway import GatewayDeployment
from deployments.ingestion import IngestionDeployment
from deployments.ranking import RankingDeployment
from deployments.recommendation import RecommendationDeployment
from deployments.search import SearchDeployment


def app(args: GraphConfig) -> Application:
    """Return the application that *args* describe."""
    search = SearchDeployment.bind(args)
    recommendation = RecommendationDeployment.bind(args)
    ranking = RankingDeployment.bind()
    ingestion = IngestionDeployment.bind(args)
    return GatewayDeployment.bind(search, recommendation, ranking, ingestion, args)
