"""simmesh: point clouds and surfaces to tetrahedral meshes that a simulator can trust."""
